// `node proto/generate.mjs` writes wire.ts from the .proto files here: the descriptors as JSON, so that nothing is parsed at
// start, and the types of all messages. `--print` prints it instead (wire.test.ts compares).
import { globSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';

const here = fileURLToPath(new URL('./', import.meta.url));

const root = new protobuf.Root();
const bundled = root.resolvePath.bind(root);
root.resolvePath = (origin, target) =>
  target.startsWith('google/') ? bundled(origin, target) : here + target.replace(here, '');
root.loadSync(globSync('**/*.proto', { cwd: here }).sort(), { keepCase: true });
root.resolveAll();

const SCALARS = {
  string: 'string',
  bytes: 'Buffer',
  bool: 'boolean',
  uint32: 'number',
  int32: 'number',
  int64: 'number',
};

function typeOf(field) {
  if (field.map) return `Record<string, ${SCALARS[field.type]}>`;
  const { resolvedType } = field;
  const name = nameOf(resolvedType);
  if (resolvedType instanceof protobuf.Type) {
    return field.repeated ? `Messages['${name}'][]` : `Messages['${name}'] | null`;
  }
  const single = resolvedType instanceof protobuf.Enum ? 'number' : SCALARS[field.type];
  if (single === undefined)
    throw new Error(`${field.fullName} has type ${field.type}, which has no TypeScript type yet`);
  return field.repeated ? `${single}[]` : single;
}

function nameOf(object) {
  return object?.fullName.replace(/^\./, '');
}

const messages = [];
const services = [];
(function visit(namespace) {
  for (const object of namespace.nestedArray) {
    if (object instanceof protobuf.Type) {
      const fields = object.fieldsArray.map((field) => `    ${field.name}: ${typeOf(field)};\n`);
      const body = fields.length === 0 ? 'Record<string, never>' : `{\n${fields.join('')}  }`;
      messages.push(`  '${nameOf(object)}': ${body};\n`);
    } else if (object instanceof protobuf.Service) {
      const methods = object.methodsArray.map((method) => {
        const messageOf = (type) => `Messages['${nameOf(type)}']`;
        return (
          `    ${method.name}: {\n      request: ${messageOf(method.resolvedRequestType)};\n` +
          `      response: ${messageOf(method.resolvedResponseType)};\n` +
          `      requestStream: ${method.requestStream === true};\n      responseStream: ${method.responseStream === true};\n    };\n`
        );
      });
      services.push(`  '${nameOf(object)}': {\n${methods.join('')}  };\n`);
    }
    if (object instanceof protobuf.Namespace) visit(object);
  }
})(root);

const text = `// Written by generate.mjs from the .proto files beside it.

/** Every message by its full name, as decoded: a field that was not sent has its type's zero, a message null. */
export interface Messages {
${messages.join('')}}

/** Every service by its full name. */
export interface Services {
${services.join('')}}

/** JSON from which protobufjs makes its types. */
export const descriptors =
  '${JSON.stringify(root.toJSON())}';
`;

if (process.argv.includes('--print')) process.stdout.write(text);
else writeFileSync(`${here}wire.ts`, text);
