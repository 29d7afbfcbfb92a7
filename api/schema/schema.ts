/**
 * The words in which a kind is described: from one value come the TypeScript type (`TypeOf`) and the structural OpenAPI v3 schema
 * that a CustomResourceDefinition carries. Each word takes the sentence that `kubectl explain` shows first.
 *
 *     const spec = object('What to move.', {
 *       claim: immutable(string('Name of the claim.', NAME)),
 *       cancel: optional(boolean('Stops the transfer.')),
 *     });
 *     type Spec = TypeOf<typeof spec>; // { readonly claim: string; readonly cancel?: boolean }
 */

/** The part of `apiextensions.k8s.io/v1` JSONSchemaProps that these words produce. */
export interface OpenApi {
  readonly type: 'object' | 'array' | 'string' | 'integer' | 'boolean';
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly string[];
  readonly format?: 'date-time' | 'int64';
  readonly pattern?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly maxProperties?: number;
  readonly items?: OpenApi;
  readonly additionalProperties?: OpenApi;
  readonly properties?: Readonly<Record<string, OpenApi>>;
  readonly required?: readonly string[];
  readonly 'x-kubernetes-list-type'?: 'atomic' | 'set' | 'map';
  readonly 'x-kubernetes-list-map-keys'?: readonly string[];
  readonly 'x-kubernetes-map-type'?: 'atomic';
  readonly 'x-kubernetes-validations'?: readonly Rule[];
}

/** A CEL expression that must hold, and the sentence that whoever breaks it gets to read. */
export interface Rule {
  readonly rule: string;
  readonly message: string;
}

declare const type: unique symbol;

/** A described value of type `T`. */
export interface Schema<T> {
  readonly openapi: OpenApi;
  readonly presence: Presence;
  readonly immutable: boolean;
  readonly [type]?: T;
}

/** `defaulted` fields may be left out by who writes, and are always there for who reads. */
export type Presence = 'required' | 'defaulted' | 'optional';

export interface OptionalSchema<T> extends Schema<T> {
  readonly presence: 'optional';
}

export type Fields = Readonly<Record<string, Schema<unknown>>>;

/** The TypeScript type of what a schema describes, as it is read from the API server. */
export type TypeOf<S extends Schema<unknown>> = S extends Schema<infer T> ? T : never;

type OptionalKeys<F extends Fields> = {
  [K in keyof F]: F[K] extends OptionalSchema<unknown> ? K : never;
}[keyof F];

type ObjectOf<F extends Fields> = {
  readonly [K in Exclude<keyof F, OptionalKeys<F>>]: TypeOf<F[K]>;
} & { readonly [K in OptionalKeys<F>]?: TypeOf<F[K]> };

/** Shows the fields of an intersection instead of its parts. */
type Plain<T> = { [K in keyof T]: T[K] };

function required<T>(openapi: OpenApi): Schema<T> {
  return { openapi, presence: 'required', immutable: false };
}

export interface StringLimits {
  readonly pattern?: string;
  readonly minLength?: number;
  /** Characters. A bound is what makes the cost of a CEL rule over the string computable. */
  readonly maxLength?: number;
}

/** At most 1024 characters where nothing else is said. */
export function string(description: string, limits: StringLimits = {}): Schema<string> {
  return required({ type: 'string', description, maxLength: 1024, ...limits });
}

/** One of these words. */
export function enumOf<const Word extends string>(description: string, words: readonly Word[]): Schema<Word> {
  return required({ type: 'string', description, enum: words });
}

/** RFC 3339, as metav1.Time. */
export function timestamp(description: string): Schema<string> {
  return required({ type: 'string', description, format: 'date-time' });
}

/** A number of bytes, items or percent: 0 up to `maximum`. */
export function count(
  description: string,
  limits: { minimum?: number; maximum?: number } = {},
): Schema<number> {
  return required({ type: 'integer', format: 'int64', description, minimum: 0, ...limits });
}

export function boolean(description: string): Schema<boolean> {
  return required({ type: 'boolean', description });
}

/** An ordered list that is replaced as a whole. */
export function list<T>(description: string, items: Schema<T>, maxItems: number): Schema<readonly T[]> {
  const openapi = { type: 'array', description, items: items.openapi, maxItems } as const;
  return required({ ...openapi, 'x-kubernetes-list-type': 'atomic' });
}

/** A list whose items are known by `key`: server-side apply merges item by item. */
export function listBy<T>(
  key: keyof T & string,
  description: string,
  items: Schema<T>,
  maxItems: number,
): Schema<readonly T[]> {
  const openapi = { type: 'array', description, items: items.openapi, maxItems } as const;
  return required({ ...openapi, 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': [key] });
}

/** Strings by name. */
export function map(description: string, values: Schema<string>): Schema<Readonly<Record<string, string>>> {
  const additionalProperties = values.openapi;
  return required({ type: 'object', description, additionalProperties, maxProperties: 64 });
}

/** Fields by name, and what must hold among them. */
export function object<F extends Fields>(
  description: string,
  fields: F,
  rules: readonly Rule[] = [],
): Schema<Plain<ObjectOf<F>>> {
  const entries = Object.entries(fields);
  const needed = entries.filter(([, field]) => field.presence === 'required').map(([name]) => name);
  const all = [
    ...entries.flatMap(([name, field]) => (field.immutable ? [unchanged(name, field)] : [])),
    ...rules,
  ];
  return required({
    type: 'object',
    description,
    ...(needed.length > 0 ? { required: needed } : {}),
    properties: Object.fromEntries(entries.map(([name, field]) => [name, field.openapi])),
    ...(all.length > 0 ? { 'x-kubernetes-validations': all } : {}),
  });
}

/**
 * Stands on the object, not on the field: there a rule is not asked when an optional field is added or taken away.
 * https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#transition-rules
 */
function unchanged(name: string, field: Schema<unknown>): Rule {
  const same = `self.${name} == oldSelf.${name}`;
  const rule =
    field.presence === 'required'
      ? same
      : `has(self.${name}) == has(oldSelf.${name}) && (!has(self.${name}) || ${same})`;
  return { rule, message: `${name} cannot be changed: make a new object` };
}

/** The field may be left out. */
export function optional<T>(schema: Schema<T>): OptionalSchema<T> {
  return { ...schema, presence: 'optional' };
}

/** What the API server fills in where the field is left out. */
export function withDefault<T>(schema: Schema<T>, value: T): Schema<T> {
  return { ...schema, openapi: { ...schema.openapi, default: value }, presence: 'defaulted' };
}

/** What was said when the object was made stays: also that nothing was said. */
export function immutable<S extends Schema<unknown>>(schema: S): S {
  return { ...schema, immutable: true };
}
