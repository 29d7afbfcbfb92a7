import { backupTarget, type BackupTarget } from '../../api/backup-target.ts';
import { dataMoverClass } from '../../api/data-mover-class.ts';
import { MOVER, REASONS } from '../../api/names.ts';
import type { DataDownload, DataUpload } from '../../api/neighbours/velero.ts';
import { snapshotDeleteRequest } from '../../api/snapshot-delete-request.ts';
import { volumeSnapshotBackup } from '../../api/volume-snapshot-backup.ts';
import { volumeSnapshotRestore } from '../../api/volume-snapshot-restore.ts';
import { describeCause } from '../errors.ts';
import { isApiError } from '../kubernetes/api-error.ts';
import type { Client } from '../kubernetes/client.ts';
import { EventRecorder } from '../kubernetes/events.ts';
import { Informer } from '../kubernetes/informer.ts';
import { LEASES } from '../kubernetes/lease.ts';
import { DATA_DOWNLOADS, DATA_UPLOADS } from '../kubernetes/neighbour-resources.ts';
import { keyOf, type KubernetesObject, type Stored } from '../kubernetes/object.ts';
import { resourceOf, type Resource } from '../kubernetes/resource.ts';
import type { VitalParts, Watching } from '../kubernetes/vitality.ts';
import { runWorkers, WorkQueue, type Reconciled } from '../kubernetes/workqueue.ts';
import { Ages, type SteadyClock } from './ages.ts';
import { ClusterName, namespaceUid } from './cluster-name.ts';
import { BackupFlow } from './backup-flow.ts';
import type { Log } from './log.ts';
import { RestoreFlow } from './restore/restore-flow.ts';
import { runQueue } from './queue-pass.ts';
import { RepositoryMaker } from './repository/opening.ts';
import { RepositorySizes } from './repository/sizes.ts';
import type { Site } from './resolve/storage.ts';
import type { ControllerSettings } from './settings.ts';
import { SnapshotDeletion } from './snapshot-deletion.ts';
import { SurroundingsLook } from './surroundings.ts';
import { TransferCache, transferKey } from './transfer-cache.ts';
import { isBackup, type TransferObject } from './transfer-object.ts';
import { TransferReconciler } from './transfer-reconciler.ts';
import { DownloadFlow } from './velero/download.ts';
import { MoveReconciler } from './velero/move-reconciler.ts';
import { UploadFlow } from './velero/upload.ts';

export interface ControllerOptions {
  /** Its writes stop when the leadership is over. */
  readonly client: Client;
  readonly settings: ControllerSettings;
  /** Which process this is, for events. */
  readonly instance: string;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** For time limits; the process' own without it. */
  readonly clock?: SteadyClock;
  /** Called when the caches are filled, with what metrics are made of. */
  readonly onReady?: (transfers: TransferCache, sizes: RepositorySizes) => void;
  /** Given at once what tells whether the loops get on. */
  readonly onStart?: (parts: VitalParts) => void;
}

const WORKERS = 8;
/** Changes come in crowds: the queue is looked at once for all of them. */
const QUEUE_PAUSE_MS = 100;
const QUEUE = 'queue';

/** Runs all loops of the controller until the signal fires. Only one process of a cluster may do so at a time. */
export async function runController(options: ControllerOptions): Promise<void> {
  const { client, settings, log, signal } = options;
  const site: Site = { client, settings };
  const watched = new Map<string, Watching>();
  const queues: WorkQueue[] = [];
  const informerOf = <T extends KubernetesObject>(resource: Resource<T>, namespace?: string): Informer<T> => {
    const informer = new Informer(client.of(resource), {
      ...{ namespace, relistMs: settings.resyncInterval, signal },
      onFailure: (error) => log.warn({ kind: resource.kind }, describeCause(error)),
      onHandlerFailure: (error) => log.error({ kind: resource.kind }, describeCause(error)),
    });
    watched.set(`${resource.kind}${namespace === undefined ? '' : ` in ${namespace}`}`, informer);
    return informer;
  };
  options.onStart?.({ informers: watched, queues });
  const backups = informerOf(resourceOf(volumeSnapshotBackup));
  const restores = informerOf(resourceOf(volumeSnapshotRestore));
  const leases = informerOf(LEASES, settings.namespace);
  const classes = informerOf(resourceOf(dataMoverClass));
  const protectedNamespaces = new Set([settings.namespace, ...settings.protectedNamespaces]);
  const targets = [...protectedNamespaces].map((namespace) =>
    informerOf(resourceOf(backupTarget), namespace),
  );
  const requests = [...protectedNamespaces].map((namespace) =>
    informerOf(resourceOf(snapshotDeleteRequest), namespace),
  );
  const velero = settings.veleroNamespace;
  const uploads = velero === undefined ? undefined : informerOf(DATA_UPLOADS, velero);
  const downloads = velero === undefined ? undefined : informerOf(DATA_DOWNLOADS, velero);
  const moves = [uploads, downloads].filter((informer) => informer !== undefined);
  const informers = [backups, restores, leases, classes, ...targets, ...requests, ...moves];
  await Promise.all(informers.map(({ synced }) => synced));
  if (signal.aborted) return;

  const events = new EventRecorder({
    ...{ client, component: 'datamover-controller', instance: options.instance },
    onFailure: (error) => log.warn({}, `an event is lost: ${describeCause(error)}`),
  });
  const transfers = new TransferCache(backups, restores);
  const others = new Set<string>();
  const ages = new Ages(options.clock);
  const look = new SurroundingsLook({
    ...{ site, client, leases, classes, ages },
    onOthers: (object, because) => {
      if (others.has(object.metadata.uid)) return;
      others.add(object.metadata.uid);
      events.record(object, 'Normal', REASONS.notOurs, `left alone: ${because}`);
    },
  });
  const sizes = new RepositorySizes(site, log);
  const shared = {
    ...{
      site,
      events,
      log,
      ages,
      clusterName: new ClusterName(namespaceUid(client), log, settings.clusterName),
    },
    ...{ repositories: new RepositoryMaker(settings.childMemory), sizes },
    lookAround: (object: TransferObject) => look.of(object),
    remember: (object: TransferObject) => transfers.remember(object),
  };
  const backupClient = client.of(resourceOf(volumeSnapshotBackup));
  const restoreClient = client.of(resourceOf(volumeSnapshotRestore));
  const backupLoop = new TransferReconciler({
    ...{ ...shared, objects: backupClient, flow: new BackupFlow(site) },
  });
  const restoreSite = { ...site, settings: { ...settings, snapshotTimeout: settings.volumeTimeout } };
  const restoreLoop = new TransferReconciler({
    ...{ ...shared, site: restoreSite, objects: restoreClient },
    flow: new RestoreFlow(restoreSite, () => look.agents()),
  });

  const queue = new WorkQueue();
  const places = new WorkQueue();
  queues.push(queue, places);
  const call = (object: TransferObject): void => {
    queue.add(transferKey(object));
    places.addAfter(QUEUE, QUEUE_PAUSE_MS);
  };
  for (const informer of [backups, restores]) {
    informer.onChange(({ type, object }) => {
      call(object);
      if (type === 'deleted') look.forget(object);
    });
  }
  leases.onChange(({ object }) => {
    look.observe(object);
    places.addAfter(QUEUE, QUEUE_PAUSE_MS);
    const transfer = object.metadata.labels?.['datamover.io/transfer'];
    if (transfer !== undefined)
      for (const one of transfers.list())
        if (one.status?.transferID === transfer) queue.add(transferKey(one));
  });
  classes.onChange(() => {
    for (const one of transfers.list()) if (one.status?.phase === undefined) queue.add(transferKey(one));
  });

  const following = { log, signal, ages };
  const deletion = new SnapshotDeletion(site, events, ages);
  const loops: Promise<void>[] = requests.map((informer) =>
    follow(informer, 1, (request, stop) => deletion.reconcile(request, stop), following),
  );
  if (uploads !== undefined) {
    const flow = new UploadFlow(client, () => classes.list());
    const parts = { client, moves: client.of(DATA_UPLOADS), flow, events, ages, log };
    const loop = new MoveReconciler({ ...parts, transfers: resourceOf(volumeSnapshotBackup) });
    loops.push(follow(uploads, WORKERS, (move) => ifOurs(move, () => loop.reconcile(move)), following));
  }
  if (downloads !== undefined) {
    const parts = {
      client,
      moves: client.of(DATA_DOWNLOADS),
      flow: new DownloadFlow(client),
      events,
      ages,
      log,
    };
    const loop = new MoveReconciler({ ...parts, transfers: resourceOf(volumeSnapshotRestore) });
    loops.push(follow(downloads, WORKERS, (move) => ifOurs(move, () => loop.reconcile(move)), following));
  }
  options.onReady?.(transfers, sizes);

  const reconcile = async (key: string, stop: AbortSignal): Promise<Reconciled> => {
    const object = transfers.get(key);
    if (object === undefined) return undefined;
    return isBackup(object) ? backupLoop.reconcile(object, stop) : restoreLoop.reconcile(object, stop);
  };
  const onFailure = failureLog(log);
  await Promise.all([
    ...loops,
    runWorkers({ queue, workers: WORKERS, reconcile, onFailure, signal }),
    runWorkers({
      ...{ queue: places, workers: 1, onFailure, signal },
      reconcile: () =>
        runQueue({
          ...{ settings, transfers, backups: backupClient, restores: restoreClient, ages, log },
          agents: () => look.agents(),
          targetLimit: (target) =>
            limitOf(
              targets.flatMap((informer) => informer.list()),
              target,
            ),
        }),
    }),
  ]);
  await events.flush();
  await Promise.all(informers.map(({ stopped }) => stopped));
}

/** Works on the objects of one kind, each time one changes. Returns when the signal has fired. */
async function follow<T extends KubernetesObject>(
  informer: Informer<T>,
  workers: number,
  reconcile: (object: Stored<T>, signal: AbortSignal) => Promise<Reconciled>,
  { log, signal, ages }: Pick<ControllerOptions, 'log' | 'signal'> & { readonly ages: Ages },
): Promise<void> {
  const queue = new WorkQueue();
  informer.onChange(({ object }) => queue.add(keyOf(object)));
  ages.follow(informer);
  await runWorkers({
    ...{ queue, workers, signal, onFailure: failureLog(log) },
    reconcile: async (key, stop) => {
      const object = informer.byKey(key);
      return object === undefined ? undefined : reconcile(object, stop);
    },
  });
}

/** Objects of Velero's that another mover has are not even looked at. */
async function ifOurs(
  { spec }: DataUpload | DataDownload,
  reconcile: () => Promise<Reconciled>,
): Promise<Reconciled> {
  return spec.datamover === MOVER ? reconcile() : undefined;
}

function failureLog(log: Log): (key: string, error: unknown) => void {
  return (key, error) => {
    // Somebody else wrote first: it is simply looked at again.
    const level = isApiError(error, 'conflict') ? 'debug' : 'warn';
    log[level]({ key }, describeCause(error));
  };
}

/** `limits.transfers` of the BackupTarget that this key of `targetKey` stands for. */
function limitOf(targets: readonly BackupTarget[], key: string): number | undefined {
  const target = targets.find(
    ({ metadata }) => `${metadata.namespace ?? ''}/target/${metadata.name ?? ''}` === key,
  );
  return target?.spec.limits?.transfers;
}
