import { backupTarget } from '../../../api/backup-target.ts';
import { locationOfSecret } from '../../../api/derived-names.ts';
import { REASONS } from '../../../api/names.ts';
import { isApiError, orMissing } from '../../kubernetes/api-error.ts';
import { SECRETS, secretValues } from '../../kubernetes/core-resources.ts';
import { DATA_PROTECTION_APPLICATIONS, STORAGE_LOCATIONS } from '../../kubernetes/neighbour-resources.ts';
import { resourceOf } from '../../kubernetes/resource.ts';
import { TransferFailure } from '../failure.ts';
import type { Site } from '../resolve/storage.ts';
import { checkLocation, liesWithin, repositoryOf, type BackedUpVolume, type Scope } from './place.ts';
import { readCredentialsFile, readStorageLocation } from './storage-location.ts';

/** What opens a repository. Secret: it goes into the transfer's secret and the environment of a child, nowhere else. */
export interface RepositoryAccess {
  readonly repository: string;
  readonly password: string;
  readonly accessKeyId?: string;
  readonly secretAccessKey?: string;
  readonly sessionToken?: string;
  readonly region?: string;
  /** PEM. */
  readonly ca?: string;
  /** Bytes a second of each transfer. */
  readonly uploadLimit?: number;
  readonly downloadLimit?: number;
}

export interface RepositoryRequest {
  readonly protectedNamespace: string;
  readonly resticSecretRef?: { readonly name: string };
  readonly backupTarget?: string;
  /** Whose repository. */
  readonly volume: BackedUpVolume;
  /** The repository itself, where the object names it (K-03). */
  readonly repository?: string;
  /** The namespaces that get at the target (K-04). */
  readonly namespaces: readonly string[];
  readonly writes: boolean;
}

/** A target before it is known which of its repositories is meant. */
interface Bucket extends Omit<RepositoryAccess, 'repository'> {
  readonly location: string;
  readonly scope: Scope;
}

/** Reads the secrets of the protected namespace that lead to the repository (K-02, K-03, K-04). */
export async function findRepository(site: Site, request: RepositoryRequest): Promise<RepositoryAccess> {
  const { protectedNamespace } = request;
  const { namespace, protectedNamespaces } = site.settings;
  if (protectedNamespace !== namespace && !protectedNamespaces.includes(protectedNamespace)) {
    throw new TransferFailure({
      operation: 'read the secrets of namespace',
      subject: protectedNamespace,
      cause: 'it is none of those that the controller may read',
      hint: 'give the controller --protected-namespaces',
      reason: REASONS.notAllowed,
    });
  }
  const { location, scope, ...access } =
    request.backupTarget === undefined
      ? await bucketOfSecret(site, protectedNamespace, request.resticSecretRef?.name ?? '')
      : await bucketOfTarget(site, request, request.backupTarget);
  const { repository } = request;
  if (repository !== undefined && !liesWithin(location, repository)) {
    throw new TransferFailure({
      operation: 'open the repository that the object names',
      cause: 'it does not lie in the location of its secret or BackupTarget',
      reason: REASONS.notAllowed,
    });
  }
  const chosen =
    repository === undefined ? repositoryOf(location, scope, request.volume) : checkLocation(repository);
  return { repository: chosen, ...access };
}

async function bucketOfTarget(site: Site, request: RepositoryRequest, name: string): Promise<Bucket> {
  const { protectedNamespace: namespace } = request;
  const subject = `${namespace}/${name}`;
  const refuse = (cause: string, reason: TransferFailure['reason']): TransferFailure =>
    new TransferFailure({ operation: 'use BackupTarget', subject, cause, reason });
  const target = await orMissing(site.client.of(resourceOf(backupTarget)).get(namespace, name));
  if (target === undefined) throw refuse('it does not exist', REASONS.repositoryMissing);
  const { spec } = target;
  const closed = request.namespaces.find((one) => spec.allowedNamespaces?.includes(one) === false);
  if (closed !== undefined) throw refuse(`it is closed to namespace ${closed}`, REASONS.notAllowed);
  if (request.writes && spec.accessMode === 'ReadOnly')
    throw refuse('it is for restores alone', REASONS.notAllowed);
  const keys = await readSecret(site, namespace, spec.credentialsSecretRef.name);
  const password = await readSecret(site, namespace, spec.passwordSecretRef.name);
  const ca =
    spec.caSecretRef === undefined ? undefined : await readSecret(site, namespace, spec.caSecretRef.name);
  return {
    ...{ location: spec.location, scope: spec.scope },
    password: password.need('RESTIC_PASSWORD'),
    accessKeyId: keys.need('AWS_ACCESS_KEY_ID'),
    secretAccessKey: keys.need('AWS_SECRET_ACCESS_KEY'),
    ...given('sessionToken', keys.get('AWS_SESSION_TOKEN')),
    ...given('region', spec.region),
    ...given('ca', ca?.need('ca.crt')),
    ...given('uploadLimit', spec.limits?.uploadBytesPerSecond),
    ...given('downloadLimit', spec.limits?.downloadBytesPerSecond),
  };
}

async function bucketOfSecret(site: Site, namespace: string, name: string): Promise<Bucket> {
  const secret = await orMissing(site.client.of(SECRETS).get(namespace, name));
  const values = secret === undefined ? undefined : new Values(`${namespace}/${name}`, secretValues(secret));
  const derived = locationOfSecret(name);
  if (values === undefined && derived !== undefined) return bucketOfLocation(site, namespace, derived, name);
  if (values === undefined) throw noSecret(`${namespace}/${name}`);
  return {
    ...{ location: values.need('RESTIC_REPOSITORY'), scope: 'Namespace' },
    password: values.need('RESTIC_PASSWORD'),
    ...given('accessKeyId', values.get('AWS_ACCESS_KEY_ID')),
    ...given('secretAccessKey', values.get('AWS_SECRET_ACCESS_KEY')),
    ...given('sessionToken', values.get('AWS_SESSION_TOKEN')),
    ...given('region', values.get('AWS_DEFAULT_REGION')),
    ...given('ca', values.get('ca.crt')),
  };
}

/** OADP's way: the secret follows from the BackupStorageLocation of that name and the user's password. Nothing is written. */
async function bucketOfLocation(
  site: Site,
  namespace: string,
  name: string,
  secretName: string,
): Promise<Bucket> {
  const found = await orMissing(site.client.of(STORAGE_LOCATIONS).get(namespace, name));
  if (found === undefined)
    throw noSecret(`${namespace}/${secretName}`, `and no BackupStorageLocation ${name} to make it from`);
  const { location, region, ca, credential, profile } = readStorageLocation(found);
  const cloud = await readSecret(site, namespace, credential.name);
  const keys = readCredentialsFile(cloud.need(credential.key), profile);
  if (keys === undefined) throw cloud.refuse(`key ${credential.key} has no keys of profile ${profile}`);
  const password = await readSecret(site, namespace, await passwordSecretOf(site, namespace));
  return {
    ...{ location, scope: 'Namespace', region },
    password: password.need('RESTIC_PASSWORD'),
    ...{ accessKeyId: keys.id, secretAccessKey: keys.secret },
    ...given('sessionToken', keys.token),
    ...given('ca', ca),
  };
}

/** OADP's DataProtectionApplication names it, where there is one; else the flag does. */
async function passwordSecretOf({ client, settings }: Site, namespace: string): Promise<string> {
  try {
    const { items } = await client.of(DATA_PROTECTION_APPLICATIONS).list({ namespace });
    const named = items.map(({ spec }) => spec.features?.dataMover?.credentialName);
    return named.find((name) => name !== undefined && name !== '') ?? settings.credentialSecret;
  } catch (error) {
    if (isApiError(error, 'missing', 'forbidden')) return settings.credentialSecret;
    throw error;
  }
}

async function readSecret({ client }: Site, namespace: string, name: string): Promise<Values> {
  const secret = await orMissing(client.of(SECRETS).get(namespace, name));
  if (secret === undefined) throw noSecret(`${namespace}/${name}`);
  return new Values(`${namespace}/${name}`, secretValues(secret));
}

function noSecret(subject: string, more = ''): TransferFailure {
  const cause = `there is no such secret${more === '' ? '' : `, ${more}`}`;
  return new TransferFailure({ operation: 'read secret', subject, cause, reason: REASONS.secretMissing });
}

/** A secret's values as text. */
class Values {
  readonly #subject: string;
  readonly #values: ReadonlyMap<string, Buffer>;

  constructor(subject: string, values: ReadonlyMap<string, Buffer>) {
    this.#subject = subject;
    this.#values = values;
  }

  /** Undefined also where it is empty. Line ends of files that secrets were made from are no part of it. */
  get(key: string): string | undefined {
    const text = this.#values
      .get(key)
      ?.toString('utf8')
      .replace(/[\r\n]+$/, '');
    return text === '' ? undefined : text;
  }

  need(key: string): string {
    const value = this.get(key);
    if (value === undefined) throw this.refuse(`it has no ${key}`);
    return value;
  }

  refuse(cause: string): TransferFailure {
    const reason = REASONS.secretMissing;
    return new TransferFailure({ operation: 'read secret', subject: this.#subject, cause, reason });
  }
}

function given<K extends string, V>(key: K, value: V | undefined): Partial<Record<K, V>> {
  return value === undefined ? {} : ({ [key]: value } as Record<K, V>);
}
