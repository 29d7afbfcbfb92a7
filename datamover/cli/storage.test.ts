import { rm } from 'node:fs/promises';
import type { DriverSite } from '../volumes/driver.suite.ts';
import { fileSite, temporary } from '../volumes/file/testing/sites.ts';
import { storageSuite } from './storage.suite.ts';

const files = async (): Promise<DriverSite> => {
  const folder = await temporary();
  return fileSite(folder, () => rm(folder, { recursive: true }));
};

storageSuite('image files', files, { drivesProgram: false });
