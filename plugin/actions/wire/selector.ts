import type { Messages } from '../../../proto/wire.ts';
import type { ActionContext, ResourceSelector } from '../contract.ts';

interface Answer {
  ResourceSelector: Messages['generated.ResourceSelector'];
}

export async function appliesTo(
  action: { appliesTo(context: ActionContext): ResourceSelector | Promise<ResourceSelector> },
  context: ActionContext,
): Promise<Answer> {
  const selector = await action.appliesTo(context);
  return {
    ResourceSelector: {
      includedNamespaces: [...(selector.includedNamespaces ?? [])],
      excludedNamespaces: [...(selector.excludedNamespaces ?? [])],
      includedResources: [...(selector.includedResources ?? [])],
      excludedResources: [...(selector.excludedResources ?? [])],
      selector: selector.selector ?? '',
    },
  };
}
