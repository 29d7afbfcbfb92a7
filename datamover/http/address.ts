import { DatamoverError } from '../errors.ts';

/** Where a server listens; without a host on every address of the machine. */
export interface ListenAddress {
  readonly host?: string;
  readonly port: number;
}

/** Reads `:8080`, `127.0.0.1:8080`, `[::1]:8080`; port 0 is one that is free. Throws a usage error. */
export function parseListenAddress(text: string): ListenAddress {
  const [, bracketed, plain, digits = ''] =
    /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(text) ?? [];
  const port = Number(digits);
  if (digits === '' || port > 65_535) {
    throw new DatamoverError({
      operation: 'read the address to listen on',
      subject: text,
      cause: 'it is not HOST:PORT',
      hint: 'write :8080 for every address of this machine, or 127.0.0.1:8080',
      kind: 'usage',
    });
  }
  const host = bracketed ?? (plain === '' ? undefined : plain);
  return { port, ...(host !== undefined && { host }) };
}
