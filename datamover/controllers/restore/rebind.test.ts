import { describe, expect, it } from '@jest/globals';
import type { Stored } from '../../kubernetes/object.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../../kubernetes/storage-resources.ts';
import { planRebind, type RebindStep } from './rebind.ts';

type Json = { [key: string]: Json } | string | null | undefined;

/** A JSON merge patch, as the API server applies it. */
function merge(target: Json, patch: Json): Json {
  if (typeof patch !== 'object' || patch === null) return patch;
  const base = typeof target === 'object' && target !== null ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) Reflect.deleteProperty(base, key);
    else base[key] = merge(base[key], value);
  }
  return base;
}

const named = (name: string) => ({ name, namespace: 'shop', uid: `uid-${name}`, resourceVersion: '1' });

describe('a volume that changes hands', () => {
  const helper = { metadata: named('helper'), spec: { volumeName: 'pv' } } as Stored<PersistentVolumeClaim>;
  const claim = {
    metadata: named('db'),
    spec: { selector: { matchLabels: { 'velero.io/dynamic-pv-restore': 'shop.db.abcde' } } },
    status: { phase: 'Pending' },
  } as Stored<PersistentVolumeClaim>;
  const volume = {
    metadata: { name: 'pv', uid: 'uid-pv', resourceVersion: '1' },
    spec: {
      persistentVolumeReclaimPolicy: 'Delete',
      claimRef: { name: 'helper', namespace: 'shop', uid: 'uid-helper' },
    },
    status: { phase: 'Bound' },
  } as Stored<PersistentVolume>;

  it('is kept before the helper goes, goes to the claim, and ends with the policy that it had', () => {
    const state: { helper: typeof helper | undefined; claim: typeof claim; volume: typeof volume } = {
      helper,
      claim,
      volume,
    };
    const steps: RebindStep['do'][] = [];
    for (let i = 0; i < 12; i++) {
      const step = planRebind({ restore: 'uid-vsr', transfer: 'r1', ...state });
      steps.push(step.do);
      if (step.do === 'done') break;
      if (step.do === 'deleteHelper') {
        // What is deleted must be kept by its volume's policy.
        expect(state.volume.spec.persistentVolumeReclaimPolicy).toBe('Retain');
        state.helper = undefined;
      }
      if (step.do === 'patchVolume')
        state.volume = merge(state.volume as unknown as Json, step.patch as Json) as unknown as typeof volume;
      if (step.do === 'patchClaim')
        state.claim = merge(state.claim as unknown as Json, step.patch as Json) as unknown as typeof claim;
      if (step.do === 'wait') {
        // kube-controller-manager binds the two.
        expect(state.volume.spec.claimRef).toMatchObject({ name: 'db', namespace: 'shop' });
        state.claim = { ...state.claim, status: { phase: 'Bound' } };
      }
    }
    expect(steps).toEqual([
      'patchVolume',
      'deleteHelper',
      'patchClaim',
      'patchVolume',
      'wait',
      'patchVolume',
      'done',
    ]);
    expect(state.volume.spec.persistentVolumeReclaimPolicy).toBe('Delete');
    expect(state.volume.metadata.labels).toEqual({ 'velero.io/dynamic-pv-restore': 'shop.db.abcde' });
    expect(state.claim.metadata.annotations).toEqual({ 'datamover.io/restored-by': 'uid-vsr' });
    expect(state.claim.spec.volumeName).toBe('pv');
  });

  it('does not take the label of another transfer from the claim', () => {
    const kept = {
      ...volume,
      metadata: { ...volume.metadata, labels: { 'datamover.io/transfer': 'r1' } },
      spec: { ...volume.spec, persistentVolumeReclaimPolicy: 'Retain' as const },
    };
    const greedy = {
      ...claim,
      metadata: { ...claim.metadata, annotations: { 'datamover.io/restored-by': 'r' } },
      spec: { volumeName: 'pv', selector: { matchLabels: { 'datamover.io/transfer': 'r2', tier: 'gold' } } },
    };
    const view = { restore: 'r', transfer: 'r1', helper: undefined, volume: kept, claim: greedy };
    expect(planRebind(view)).toMatchObject({
      do: 'patchVolume',
      patch: { metadata: { labels: { tier: 'gold' } } },
    });
    expect(JSON.stringify(planRebind(view))).not.toContain('r2');
  });

  it('waits for the claim', () => {
    expect(planRebind({ restore: 'r', transfer: 't', helper, volume, claim: undefined })).toEqual({
      ...{ do: 'wait', because: 'it waits for the claim' },
    });
  });
});
