import type {
  handleBidiStreamingCall,
  handleClientStreamingCall,
  handleServerStreamingCall,
  handleUnaryCall,
  MethodDefinition,
  ServiceDefinition,
} from '@grpc/grpc-js';
import protobuf from 'protobufjs/light.js';
import { descriptors, type Services } from './wire.ts';

export type ServiceName = keyof Services;

interface Call {
  request: unknown;
  response: unknown;
  requestStream: boolean;
  responseStream: boolean;
}

type Handler<C> = C extends Call
  ? C['requestStream'] extends true
    ? C['responseStream'] extends true
      ? handleBidiStreamingCall<C['request'], C['response']>
      : handleClientStreamingCall<C['request'], C['response']>
    : C['responseStream'] extends true
      ? handleServerStreamingCall<C['request'], C['response']>
      : handleUnaryCall<C['request'], C['response']>
  : never;

/** What a server has to bring for a service: one handler for each of its methods. */
export type Handlers<S extends ServiceName> = { [M in keyof Services[S]]: Handler<Services[S][M]> };

/** A service of the `.proto` files as grpc-js wants it, for servers and for clients. */
export type Definition<S extends ServiceName> = {
  [M in keyof Services[S]]: Services[S][M] extends Call
    ? MethodDefinition<Services[S][M]['request'], Services[S][M]['response']>
    : never;
};

let root: protobuf.Root | undefined;

/** Makes the definition of a service from the descriptors; message types are compiled when they are first used. */
export function serviceDefinition<S extends ServiceName>(name: S): Definition<S> & ServiceDefinition {
  root ??= protobuf.Root.fromJSON(JSON.parse(descriptors) as protobuf.INamespace);
  const service = root.lookupService(name);
  const methods = service.methodsArray.map((method) => {
    method.resolve();
    const { resolvedRequestType: request, resolvedResponseType: response } = method;
    if (request === null || response === null)
      throw new Error(`${method.fullName} has an unknown message type`);
    const definition: MethodDefinition<object, unknown> = {
      path: `/${name}/${method.name}`,
      requestStream: method.requestStream === true,
      responseStream: method.responseStream === true,
      requestSerialize: (value) => encode(request, value),
      requestDeserialize: (bytes) => decode(request, bytes) as object,
      responseSerialize: (value) => encode(response, value as object),
      responseDeserialize: (bytes) => decode(response, bytes),
    };
    return [method.name, definition];
  });
  // The types of wire.ts are written from the same descriptors.
  return Object.fromEntries(methods) as Definition<S> & ServiceDefinition;
}

function encode(type: protobuf.Type, message: object): Buffer {
  const { buffer, byteOffset, byteLength } = type.encode(message).finish();
  return Buffer.from(buffer, byteOffset, byteLength);
}

/** int64 become numbers: Velero's are bytes and nanoseconds, exact up to 2^53. */
function decode(type: protobuf.Type, bytes: Buffer): unknown {
  return type.toObject(type.decode(bytes), { defaults: true, longs: Number });
}
