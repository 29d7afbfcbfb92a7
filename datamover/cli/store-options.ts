import { describeCause } from '../errors.ts';
import { Limits } from '../store/limit.ts';
import { openStore, type OpenOptions } from '../store/location.ts';
import type { Store } from '../store/store.ts';
import { parseCount } from './arguments.ts';
import { usage } from './settings.ts';
import type { Context } from './verb.ts';

/** A pause that the user should know of; shorter ones pass unnoticed. */
const NOTABLE_PAUSE_MS = 1000;

/** Opens a store with the limits and settings of the command line. Nothing is asked of it yet. */
export async function openStoreAt({ options, env, output }: Context, location: string): Promise<Store> {
  const { cacert, limitUpload, limitDownload, option = {} } = options;
  return openStore(location, env, {
    ...readStoreSettings(option),
    cacert,
    limits: new Limits({ upload: bytesPerSecond(limitUpload), download: bytesPerSecond(limitDownload) }),
    retry: {
      onRetry: (failure, pauseMs) => {
        if (pauseMs < NOTABLE_PAUSE_MS && output.verbosity < 2) return;
        output.note(`trying again in ${(pauseMs / 1000).toFixed(1)} s: ${describeCause(failure)}`);
      },
    },
  });
}

/** restic's `-o` settings, as far as they mean something here. An unknown one is a mistake, not a wish. */
function readStoreSettings(
  settings: Readonly<Record<string, string>>,
): Pick<OpenOptions, 'region' | 'style' | 'connections'> {
  const known = ['s3.region', 's3.bucket-lookup', 's3.connections'];
  const unknown = Object.keys(settings).find((key) => !known.includes(key));
  if (unknown !== undefined) {
    throw usage(
      'read the store settings',
      `${unknown} is not known`,
      undefined,
      `-o takes ${known.join(', ')}`,
    );
  }
  const lookup = settings['s3.bucket-lookup'] ?? 'auto';
  if (lookup !== 'auto' && lookup !== 'dns' && lookup !== 'path') {
    throw usage('read the store settings', 's3.bucket-lookup is auto, dns or path', lookup);
  }
  const connections = settings['s3.connections'];
  return {
    region: settings['s3.region'],
    style: lookup === 'auto' ? undefined : lookup,
    connections: connections === undefined ? undefined : connectionCount(connections),
  };
}

function connectionCount(text: string): number {
  const number = /^\d+$/.test(text) ? parseCount(text) : 0;
  if (number < 1) throw usage('read the store settings', 's3.connections is a number from 1 on', text);
  return number;
}

/** restic counts limits in KiB a second; 0 is no limit. */
function bytesPerSecond(kibibytes: number | undefined): number | undefined {
  return kibibytes === undefined || kibibytes === 0 ? undefined : kibibytes * 1024;
}
