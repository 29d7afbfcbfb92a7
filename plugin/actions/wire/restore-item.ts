import type { Handlers } from '../../../proto/service.ts';
import type { RestoreInput, RestoreItemAction, RestoreItemActionV2 } from '../contract.ts';
import { dispatcher, unary, type Site } from './call.ts';
import { readItem, readRestore, writeIdentifiers, writeItem } from './item.ts';
import { askProgress } from './progress.ts';
import { appliesTo } from './selector.ts';

interface ExecuteRequest {
  readonly item: Buffer;
  readonly itemFromBackup: Buffer;
  readonly restore: Buffer;
}

function readInput({ item, itemFromBackup, restore }: ExecuteRequest): RestoreInput {
  return {
    item: readItem(item, 'item'),
    itemFromBackup: readItem(itemFromBackup, 'item from the backup'),
    restore: readRestore(restore),
  };
}

export function restoreItemActions(
  actions: readonly RestoreItemAction[],
  site: Site,
): Handlers<'generated.RestoreItemAction'> {
  const find = dispatcher(actions, 'RestoreItemAction');
  return {
    AppliesTo: unary(find, site, (action, _request, context) => appliesTo(action, context)),
    Execute: unary(find, site, async (action, request, context) => {
      const outcome = await action.execute(readInput(request), context);
      return {
        item: writeItem(outcome.item, request.item),
        additionalItems: writeIdentifiers(outcome.additionalItems),
        skipRestore: outcome.skipRestore ?? false,
      };
    }),
  };
}

export function restoreItemActionsV2(
  actions: readonly RestoreItemActionV2[],
  site: Site,
): Handlers<'v2.RestoreItemAction'> {
  const find = dispatcher(actions, 'RestoreItemActionV2');
  return {
    AppliesTo: unary(find, site, (action, _request, context) => appliesTo(action, context)),
    Execute: unary(find, site, async (action, request, context) => {
      const outcome = await action.execute(readInput(request), context);
      return {
        item: writeItem(outcome.item, request.item),
        additionalItems: writeIdentifiers(outcome.additionalItems),
        skipRestore: outcome.skipRestore ?? false,
        operationID: outcome.operationID ?? '',
        waitForAdditionalItems: outcome.waitForAdditionalItems !== undefined,
        additionalItemsReadyTimeout: { seconds: outcome.waitForAdditionalItems?.seconds ?? 0, nanos: 0 },
      };
    }),
    Progress: unary(find, site, async (action, { operationID, restore }, context) => ({
      progress: await askProgress(() => action.progress(operationID, readRestore(restore), context)),
    })),
    Cancel: unary(find, site, async (action, { operationID, restore }, context) => {
      await action.cancel(operationID, readRestore(restore), context);
      return {};
    }),
    AreAdditionalItemsReady: unary(find, site, async (action, { restore, additionalItems }, context) => ({
      ready: (await action.areAdditionalItemsReady?.(additionalItems, readRestore(restore), context)) ?? true,
    })),
  };
}
