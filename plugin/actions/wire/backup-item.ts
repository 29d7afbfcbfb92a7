import type { Handlers } from '../../../proto/service.ts';
import type { BackupItemAction, BackupItemActionV2 } from '../contract.ts';
import { dispatcher, unary, type Site } from './call.ts';
import { readBackup, readItem, writeIdentifiers, writeItem } from './item.ts';
import { askProgress } from './progress.ts';
import { appliesTo } from './selector.ts';

export function backupItemActions(
  actions: readonly BackupItemAction[],
  site: Site,
): Handlers<'generated.BackupItemAction'> {
  const find = dispatcher(actions, 'BackupItemAction');
  return {
    AppliesTo: unary(find, site, (action, _request, context) => appliesTo(action, context)),
    Execute: unary(find, site, async (action, { item, backup }, context) => {
      const outcome = await action.execute(readItem(item, 'item'), readBackup(backup), context);
      return {
        item: writeItem(outcome.item, item),
        additionalItems: writeIdentifiers(outcome.additionalItems),
      };
    }),
  };
}

export function backupItemActionsV2(
  actions: readonly BackupItemActionV2[],
  site: Site,
): Handlers<'v2.BackupItemAction'> {
  const find = dispatcher(actions, 'BackupItemActionV2');
  return {
    AppliesTo: unary(find, site, (action, _request, context) => appliesTo(action, context)),
    Execute: unary(find, site, async (action, { item, backup }, context) => {
      const outcome = await action.execute(readItem(item, 'item'), readBackup(backup), context);
      return {
        item: writeItem(outcome.item, item),
        additionalItems: writeIdentifiers(outcome.additionalItems),
        operationID: outcome.operationID ?? '',
        postOperationItems: writeIdentifiers(outcome.postOperationItems),
      };
    }),
    Progress: unary(find, site, async (action, { operationID, backup }, context) => ({
      progress: await askProgress(() => action.progress(operationID, readBackup(backup), context)),
    })),
    Cancel: unary(find, site, async (action, { operationID, backup }, context) => {
      await action.cancel(operationID, readBackup(backup), context);
      return {};
    }),
  };
}
