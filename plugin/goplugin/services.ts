import { status, type Server } from '@grpc/grpc-js';
import { serviceDefinition, type Definition, type Handlers, type ServiceName } from '../../proto/service.ts';

/** Registers a service with its handlers: what the types of wire.ts ask for is what grpc-js gets. */
export function addService<S extends ServiceName>(server: Server, name: S, handlers: Handlers<S>): void {
  const definition: Definition<S> = serviceDefinition(name);
  server.addService(definition, handlers);
}

/**
 * The broker, for connections beside the first one: hosts open its stream when they connect, and Velero never uses it. It stays open
 * as long as the host wants.
 */
export const broker: Handlers<'plugin.GRPCBroker'> = {
  StartStream(call) {
    call.on('data', () => undefined);
    call.on('end', () => call.end());
    // A host that goes away resets its streams.
    call.on('error', () => undefined);
  },
};

/** Copies of stdout and stderr, which here never carry anything beside handshake and log: open and silent. */
export const stdio: Handlers<'plugin.GRPCStdio'> = {
  StreamStdio(call) {
    call.on('cancelled', () => call.end());
    call.on('error', () => undefined);
  },
};

export function controller(shutDown: () => void): Handlers<'plugin.GRPCController'> {
  return {
    Shutdown(_call, answer) {
      answer(null, {});
      shutDown();
    },
  };
}

/** proto/health.proto, HealthCheckResponse.ServingStatus. */
const SERVING = 1;
const SERVICE_UNKNOWN = 3;

/** go-plugin asks for service `plugin`; the empty name is the whole server. */
export const health: Handlers<'grpc.health.v1.Health'> = {
  Check(call, answer) {
    const { service } = call.request;
    if (isKnown(service)) answer(null, { status: SERVING });
    else answer({ code: status.NOT_FOUND, details: `there is no service "${service}" here` });
  },
  Watch(call) {
    call.on('cancelled', () => call.end());
    call.on('error', () => undefined);
    call.write({ status: isKnown(call.request.service) ? SERVING : SERVICE_UNKNOWN });
  },
};

function isKnown(service: string): boolean {
  return service === 'plugin' || service === '';
}
