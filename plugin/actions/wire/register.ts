import type { Server } from '@grpc/grpc-js';
import { addService } from '../../goplugin/services.ts';
import type { RegisteredAction } from '../contract.ts';
import { backupItemActions, backupItemActionsV2 } from './backup-item.ts';
import { failure, type Site } from './call.ts';
import { deleteItemActions } from './delete-item.ts';
import { objectStores } from './object-store.ts';
import { restoreItemActions, restoreItemActionsV2 } from './restore-item.ts';

type OfKind<K extends RegisteredAction['kind']> = Extract<RegisteredAction, { kind: K }>;

/** Which of the served actions the host is told of; all of them without a choice. */
export type Offer = (site: Site) => Promise<readonly RegisteredAction[]>;

/**
 * Puts a table of actions on the wire. `command` is what Velero starts for every later call: the absolute path of this
 * executable.
 */
export function registerActions(
  server: Server,
  actions: readonly RegisteredAction[],
  site: Site,
  command: string,
  offer: Offer = () => Promise.resolve(actions),
): void {
  addService(server, 'generated.PluginLister', {
    ListPlugins(_call, reply) {
      offer(site).then(
        (offered) => reply(null, { plugins: offered.map(({ kind, name }) => ({ command, kind, name })) }),
        (error: unknown) => reply(failure(error)),
      );
    },
  });
  const of = <K extends RegisteredAction['kind']>(kind: K): OfKind<K>[] =>
    actions.filter((action): action is OfKind<K> => action.kind === kind);
  addService(server, 'generated.BackupItemAction', backupItemActions(of('BackupItemAction'), site));
  addService(server, 'v2.BackupItemAction', backupItemActionsV2(of('BackupItemActionV2'), site));
  addService(server, 'generated.RestoreItemAction', restoreItemActions(of('RestoreItemAction'), site));
  addService(server, 'v2.RestoreItemAction', restoreItemActionsV2(of('RestoreItemActionV2'), site));
  addService(server, 'generated.DeleteItemAction', deleteItemActions(of('DeleteItemAction'), site));
  addService(server, 'generated.ObjectStore', objectStores(of('ObjectStore'), site));
}
