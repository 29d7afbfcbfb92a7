import { afterAll, beforeAll } from '@jest/globals';
import { startCeph, type CephCluster } from '../../../../e2e/servers/ceph.ts';
import { RbdDriver } from '../driver.ts';
import { Librbd } from './librbd.ts';

export interface TestCluster {
  readonly ceph: CephCluster;
  /** To change images byte by byte. */
  readonly client: Librbd;
  /** With the machine's librbd, or the one of a folder; closed after the last test. */
  readonly driver: (libraries?: string) => RbdDriver;
}

/** The run's cluster and a client of it, from before a file's first test to after its last. */
export function useCeph(): TestCluster {
  const drivers: RbdDriver[] = [];
  let open: { readonly ceph: CephCluster; readonly client: Librbd } | undefined;
  const opened = (): NonNullable<typeof open> => {
    if (open === undefined) throw new Error('the cluster is there within tests alone');
    return open;
  };
  beforeAll(async () => {
    const ceph = await startCeph();
    open = { ceph, client: new Librbd(ceph) };
  }, 300_000);
  afterAll(async () => {
    await Promise.all(drivers.map((driver) => driver.close()));
    open?.client.close();
    await open?.ceph.stop();
  }, 300_000);
  return {
    get ceph() {
      return opened().ceph;
    },
    get client() {
      return opened().client;
    },
    driver: (libraries) => {
      const conf = opened().ceph.environment.CEPH_CONF;
      const driver = new RbdDriver({ conf, ...(libraries !== undefined && { libraries }) });
      drivers.push(driver);
      return driver;
    },
  };
}
