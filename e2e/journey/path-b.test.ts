import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startSystem, SYSTEM_PEERS, type System } from '../cluster/system.ts';
import { describePeers } from '../servers/describe-peers.ts';
import {
  backUp,
  change,
  digestsOf,
  loseApplication,
  makeApplication,
  MEBIBYTE,
  restic,
  restore,
  type Application,
} from './application.ts';

describePeers(
  [...SYSTEM_PEERS, 'restic-current'],
  'plain CSI backups of Velero, moved from Ceph and back',
  () => {
    let system: System;
    let application: Application;

    beforeAll(async () => {
      system = await startSystem();
      application = await makeApplication(system, ['data', 'logs']);
    }, 600_000);
    afterAll(() => system.stop(), 120_000);

    test('a backup ends as Completed, and restic finds it whole', async () => {
      await backUp(system, 'first', [application.namespace]);
      const snapshots = JSON.parse(await restic(system, application.namespace, 'snapshots')) as unknown[];
      expect(snapshots).toHaveLength(2);
      await restic(system, application.namespace, 'check', '--read-data');
    }, 600_000);

    test('the lost namespace comes back byte for byte', async () => {
      await loseApplication(system, application);
      await restore(system, 'back', 'first');
      const { namespace, digests } = application;
      expect(await digestsOf(system, namespace, digests.keys())).toEqual(digests);
    }, 600_000);

    test('it goes into another namespace beside it', async () => {
      const { namespace, digests } = application;
      await restore(system, 'beside', 'first', '--namespace-mappings', `${namespace}:${namespace}-two`);
      expect(await digestsOf(system, `${namespace}-two`, digests.keys())).toEqual(digests);
    }, 600_000);

    test('a later backup comes back as it was then', async () => {
      await change(system, application, 'data', 20 * MEBIBYTE, 4096);
      await backUp(system, 'second', [application.namespace]);
      await loseApplication(system, application);
      await restore(system, 'again', 'second');
      const { namespace, digests } = application;
      expect(await digestsOf(system, namespace, digests.keys())).toEqual(digests);
    }, 600_000);
  },
);
