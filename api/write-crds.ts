/** `npm run generate`: writes a CustomResourceDefinition for each kind into charts/datamover/crds/, and removes those of kinds that are gone. */
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { crdFiles } from './crd-files.ts';

const folder = join(import.meta.dirname, '../../charts/datamover/crds');
await mkdir(folder, { recursive: true });
const files = crdFiles();
for (const name of await readdir(folder)) if (!files.has(name)) await rm(join(folder, name));
for (const [name, text] of files) await writeFile(join(folder, name), text);
console.log(`${files.size} CustomResourceDefinitions in ${folder}`);
