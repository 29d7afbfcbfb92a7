import type { ObjectStoreProvider } from '../contract.ts';
import { readConfig } from './config.ts';

/** `provider: datamover.io/s3` of a BackupStorageLocation: any S3, with the configuration of velero-plugin-for-aws. */
export const s3ObjectStore: ObjectStoreProvider = {
  kind: 'ObjectStore',
  name: 'datamover.io/s3',
  async open(config, log) {
    const checked = readConfig(config);
    const { S3ObjectStore } = await import('./store.ts');
    return S3ObjectStore.open(checked, log);
  },
};
