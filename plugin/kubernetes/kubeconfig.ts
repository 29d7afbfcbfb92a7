import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { parse } from 'yaml';
import { bearer, type Configuration } from './configuration.ts';

type Fields = Readonly<Record<string, unknown>>;

/** An entry of `clusters`, `users` or `contexts`, and the directory that relative paths in it start from. */
interface Entry {
  readonly fields: Fields;
  readonly directory: string;
}

/**
 * The current context of kubeconfig files; of entries that several have, the first file's counts, and a file that is not there is
 * passed over, as in client-go. Proxies and programs that fetch credentials (`exec`) are refused: a Velero pod has neither.
 * https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
 */
export async function readKubeconfig(files: readonly string[]): Promise<Configuration> {
  const documents: { readonly file: string; readonly content: Fields }[] = [];
  for (const file of files) {
    const text = await readFile(file, 'utf8').catch((error: unknown) => {
      if ((error as { readonly code?: string }).code === 'ENOENT') return undefined;
      throw error;
    });
    if (text !== undefined) documents.push({ file, content: asFields(parse(text)) });
  }
  const subject = `the kubeconfig ${files.join(':')}`;
  if (documents.length === 0) throw new Error(`${subject} does not exist`);
  const current = documents
    .map(({ content }) => text(content, 'current-context'))
    .find((name) => name !== undefined);
  if (current === undefined) throw new Error(`${subject} has no current-context`);

  const find = (list: string, field: string, name: string | undefined): Entry => {
    for (const { file, content } of documents) {
      const entries = Array.isArray(content[list]) ? content[list].map(asFields) : [];
      const found = entries.find((entry) => entry['name'] === name);
      if (found !== undefined) return { fields: asFields(found[field]), directory: dirname(file) };
    }
    throw new Error(`${subject} has no ${field} ${JSON.stringify(name)}`);
  };
  const context = find('contexts', 'context', current).fields;
  return connection(
    find('clusters', 'cluster', text(context, 'cluster')),
    find('users', 'user', text(context, 'user')),
    subject,
  );
}

async function connection(cluster: Entry, user: Entry, subject: string): Promise<Configuration> {
  const server = text(cluster.fields, 'server');
  if (server?.startsWith('https://') !== true)
    throw new Error(`the server in ${subject} is no https:// address`);
  if (cluster.fields['proxy-url'] !== undefined)
    throw new Error(`${subject} names a proxy, which this plugin cannot use`);
  for (const kind of ['exec', 'auth-provider']) {
    if (user.fields[kind] !== undefined)
      throw new Error(
        `${subject} has credentials by ${kind}, which this plugin cannot use: give a token or a certificate`,
      );
  }
  const ca = await bytes(cluster, 'certificate-authority');
  const cert = await bytes(user, 'client-certificate');
  const key = await bytes(user, 'client-key');
  const servername = text(cluster.fields, 'tls-server-name');
  return {
    server: server.replace(/\/+$/, ''),
    tls: {
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
      ...(servername === undefined ? {} : { servername }),
      ...(cluster.fields['insecure-skip-tls-verify'] === true ? { rejectUnauthorized: false } : {}),
    },
    authorization: async () => {
      const tokenFile = text(user.fields, 'tokenFile');
      if (tokenFile !== undefined) return bearer(resolve(user.directory, tokenFile));
      const token = text(user.fields, 'token');
      return token === undefined ? undefined : `Bearer ${token}`;
    },
  };
}

/** Inline (`NAME-data`, base64) or a file. */
async function bytes({ fields, directory }: Entry, name: string): Promise<Buffer | undefined> {
  const inline = text(fields, `${name}-data`);
  if (inline !== undefined) return Buffer.from(inline, 'base64');
  const file = text(fields, name);
  return file === undefined ? undefined : readFile(resolve(directory, file));
}

function text(fields: Fields, name: string): string | undefined {
  const value = fields[name];
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function asFields(value: unknown): Fields {
  return typeof value === 'object' && value !== null ? (value as Fields) : {};
}
