import { loadPackageDefinition, Server, ServerCredentials, status } from '@grpc/grpc-js';
import type { handleUnaryCall, ServiceDefinition, UntypedServiceImplementation } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { fileURLToPath } from 'node:url';
import { describeCause } from '../../../datamover/errors.ts';
import { INVENTORY_FILE } from '../peers.ts';
import { CsiFailure, type CsiDriver, type MadeSnapshot } from './driver.ts';

type Texts = Readonly<Record<string, string>>;

/** The messages of csi.proto that are read here, as proto-loader gives them. */
interface CreateVolumeRequest {
  readonly name: string;
  readonly capacity_range: { readonly required_bytes: number } | null;
  readonly volume_capabilities: readonly { readonly block?: object; readonly mount?: { fs_type: string } }[];
  readonly parameters: Texts;
  readonly secrets: Texts;
  readonly volume_content_source: { readonly snapshot?: { snapshot_id: string }; volume?: object } | null;
  readonly accessibility_requirements: { readonly preferred: readonly { segments: Texts }[] } | null;
}

/** Numbers of CSI's enumerations. */
const SERVICE = { controller: 1, topology: 2 } as const;
const CAPABILITY = { volumes: 1, snapshots: 5, listSnapshots: 6 } as const;

type Handlers = Readonly<Record<string, (request: never) => Promise<object>>>;

/** Serves a driver on a unix socket, as csi-provisioner and csi-snapshotter want it. Returns how to end it. */
export async function serveCsi(driver: CsiDriver, socket: string): Promise<() => void> {
  const services = loadServices();
  const server = new Server();
  server.addService(services.identity, unary(identity(driver)));
  server.addService(services.controller, unary(controller(driver)));
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    );
  });
  return () => server.forceShutdown();
}

function loadServices(): { identity: ServiceDefinition; controller: ServiceDefinition } {
  const file = fileURLToPath(new URL('../servers/csi/csi.proto', INVENTORY_FILE));
  const loaded = loadPackageDefinition(
    loadSync(file, { keepCase: true, longs: Number, defaults: true, oneofs: true }),
  ) as unknown as {
    csi: { v1: { Identity: { service: ServiceDefinition }; Controller: { service: ServiceDefinition } } };
  };
  const { Identity, Controller } = loaded.csi.v1;
  return { identity: Identity.service, controller: Controller.service };
}

function identity(driver: CsiDriver): Handlers {
  const services = driver.topology ? [SERVICE.controller, SERVICE.topology] : [SERVICE.controller];
  return {
    GetPluginInfo: () => Promise.resolve({ name: driver.name, vendor_version: 'double' }),
    GetPluginCapabilities: () =>
      Promise.resolve({ capabilities: services.map((type) => ({ service: { type } })) }),
    Probe: () => Promise.resolve({ ready: { value: true } }),
  };
}

function controller(driver: CsiDriver): Handlers {
  const { findSnapshot } = driver;
  const known: number[] = [CAPABILITY.volumes, CAPABILITY.snapshots];
  if (findSnapshot !== undefined) known.push(CAPABILITY.listSnapshots);
  return {
    ControllerGetCapabilities: () =>
      Promise.resolve({ capabilities: known.map((type) => ({ rpc: { type } })) }),
    CreateVolume: async (request: CreateVolumeRequest) => {
      const source = request.volume_content_source;
      if (source?.volume != null)
        throw new CsiFailure(status.INVALID_ARGUMENT, 'the double makes no clones of volumes');
      const snapshot = source?.snapshot?.snapshot_id;
      const made = await driver.createVolume({
        name: request.name,
        bytes: request.capacity_range?.required_bytes ?? 0,
        block: request.volume_capabilities.some(({ block }) => block != null),
        fsType: request.volume_capabilities.find(({ mount }) => mount != null)?.mount?.fs_type ?? '',
        parameters: request.parameters,
        secrets: request.secrets,
        ...(snapshot === undefined ? {} : { snapshot }),
        topologies: (request.accessibility_requirements?.preferred ?? []).map(({ segments }) => segments),
      });
      const topology = made.topology === undefined ? [] : [{ segments: made.topology }];
      return {
        volume: {
          ...{ capacity_bytes: made.bytes, volume_id: made.handle, volume_context: made.context },
          ...{ content_source: source, accessible_topology: topology },
        },
      };
    },
    DeleteVolume: async ({ volume_id, secrets }: { volume_id: string; secrets: Texts }) => {
      await driver.deleteVolume(volume_id, secrets);
      return {};
    },
    CreateSnapshot: async (request: {
      source_volume_id: string;
      name: string;
      secrets: Texts;
      parameters: Texts;
    }) => {
      const { source_volume_id: volume, name, secrets, parameters } = request;
      return { snapshot: onWire(await driver.createSnapshot({ volume, name, secrets, parameters })) };
    },
    DeleteSnapshot: async ({ snapshot_id, secrets }: { snapshot_id: string; secrets: Texts }) => {
      await driver.deleteSnapshot(snapshot_id, secrets);
      return {};
    },
    ListSnapshots: async ({ snapshot_id, secrets }: { snapshot_id: string; secrets: Texts }) => {
      const found = await findSnapshot?.(snapshot_id, secrets);
      return { entries: found === undefined ? [] : [{ snapshot: onWire(found) }] };
    },
  };
}

function onWire({ handle, volume, bytes, created, ready }: MadeSnapshot): object {
  const milliseconds = created.getTime();
  return {
    ...{ snapshot_id: handle, source_volume_id: volume, size_bytes: bytes, ready_to_use: ready },
    creation_time: {
      seconds: Math.floor(milliseconds / 1000),
      nanos: (milliseconds % 1000) * 1_000_000,
    },
  };
}

/** Makes gRPC's handlers out of functions that resolve or throw. */
function unary(handlers: Handlers): UntypedServiceImplementation {
  const entries = Object.entries(handlers).map(([name, handle]) => {
    // The request has been decoded by the method's own definition.
    const handler: handleUnaryCall<unknown, object> = (call, answer) => {
      handle(call.request as never).then(
        (response) => answer(null, response),
        (error: unknown) => answer({ code: codeOf(error), details: describeCause(error) }),
      );
    };
    return [name, handler] as const;
  });
  return Object.fromEntries(entries);
}

function codeOf(error: unknown): status {
  return error instanceof CsiFailure ? error.code : status.INTERNAL;
}
