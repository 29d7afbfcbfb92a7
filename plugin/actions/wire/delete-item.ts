import type { Handlers } from '../../../proto/service.ts';
import type { DeleteItemAction } from '../contract.ts';
import { dispatcher, unary, type Site } from './call.ts';
import { readBackup, readItem } from './item.ts';
import { appliesTo } from './selector.ts';

export function deleteItemActions(
  actions: readonly DeleteItemAction[],
  site: Site,
): Handlers<'generated.DeleteItemAction'> {
  const find = dispatcher(actions, 'DeleteItemAction');
  return {
    AppliesTo: unary(find, site, (action, _request, context) => appliesTo(action, context)),
    Execute: unary(find, site, async (action, { item, backup }, context) => {
      await action.execute(readItem(item, 'item'), readBackup(backup), context);
      return {};
    }),
  };
}
