import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../../datamover/process/spawn.ts';

/** PEM files of a cluster that lives for a test run. */
export interface Certificates {
  /** The authority behind the server's and all clients' certificates. */
  readonly caFile: string;
  readonly server: KeyPair;
  readonly admin: KeyPair;
  readonly controllerManager: KeyPair;
  /** Signs the tokens of ServiceAccounts. */
  readonly tokenKey: string;
}

export interface KeyPair {
  readonly certFile: string;
  readonly keyFile: string;
}

/** Makes an authority and what it signs: 0.1 s. */
export async function makeCertificates(folder: string): Promise<Certificates> {
  const authority = { certFile: join(folder, 'ca.crt'), keyFile: join(folder, 'ca.key') };
  await openssl(
    authority,
    '/CN=test-authority',
    '-addext',
    'basicConstraints=critical,CA:TRUE',
    '-addext',
    'keyUsage=critical,keyCertSign,digitalSignature',
  );
  const signed = async (name: string, subject: string, ...extensions: string[]): Promise<KeyPair> => {
    const pair = { certFile: join(folder, `${name}.crt`), keyFile: join(folder, `${name}.key`) };
    const added = ['basicConstraints=critical,CA:FALSE', ...extensions].flatMap((text) => ['-addext', text]);
    await openssl(pair, subject, '-CA', authority.certFile, '-CAkey', authority.keyFile, ...added);
    return pair;
  };
  const server = await signed(
    'server',
    '/CN=kube-apiserver',
    'subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:kubernetes.default.svc',
    'extendedKeyUsage=serverAuth',
  );
  const client = 'extendedKeyUsage=clientAuth';
  const admin = await signed('admin', '/O=system:masters/CN=admin', client);
  const controllerManager = await signed('manager', '/CN=system:kube-controller-manager', client);
  const tokenKey = join(folder, 'token.key');
  await run({
    file: 'openssl',
    args: ['genpkey', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048', '-out', tokenKey],
  });
  return { caFile: authority.certFile, server, admin, controllerManager, tokenKey };
}

async function openssl({ certFile, keyFile }: KeyPair, subject: string, ...more: string[]): Promise<void> {
  await run({
    file: 'openssl',
    args: [
      ...['req', '-x509', '-nodes', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-days', '2'],
      ...['-subj', subject, '-keyout', keyFile, '-out', certFile, ...more],
    ],
    operation: 'make a certificate with',
  });
}

/** Who a kubeconfig speaks for: a client certificate or a ServiceAccount's token. */
export type Identity = KeyPair | { readonly token: string };

/** Writes a kubeconfig (mode 0600). JSON is YAML. */
export async function writeKubeconfig(
  file: string,
  server: string,
  caFile: string,
  identity: Identity,
): Promise<void> {
  const user =
    'token' in identity
      ? { token: identity.token }
      : { 'client-certificate': identity.certFile, 'client-key': identity.keyFile };
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'tests', cluster: { server, 'certificate-authority': caFile } }],
    users: [{ name: 'user', user }],
    contexts: [{ name: 'tests', context: { cluster: 'tests', user: 'user' } }],
    'current-context': 'tests',
  };
  await writeFile(file, JSON.stringify(config), { mode: 0o600 });
}
