import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run, start, type Command, type Output, type Running } from '../../process/spawn.ts';

/** The command as people start it. */
export const DATAMOVER = fileURLToPath(new URL('../../../../bin/datamover', import.meta.url));

export const PASSWORD = 'correct horse';

export type Invocation = Partial<Pick<Command, 'env' | 'input' | 'signal'>>;

/** A folder with room for a repository and images, and the command to use them. */
export class Workbench {
  readonly folder: string;
  readonly repository: string;

  private constructor(folder: string) {
    this.folder = folder;
    this.repository = join(folder, 'repo');
  }

  static async create(): Promise<Workbench> {
    return new Workbench(await mkdtemp(join(tmpdir(), 'datamover-cli-')));
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  /** A clean environment: nothing of the person who runs the tests decides their outcome. */
  environment(more: Invocation['env'] = {}): NonNullable<Invocation['env']> {
    const cleared = Object.keys(process.env).filter((name) => /^(RESTIC|AWS)_/.test(name));
    return {
      ...Object.fromEntries(cleared.map((name) => [name, undefined])),
      RESTIC_REPOSITORY: this.repository,
      RESTIC_PASSWORD: PASSWORD,
      ...more,
    };
  }

  /** Runs the command to its end, whatever its exit code. */
  async run(args: readonly string[], { env, ...more }: Invocation = {}): Promise<Output> {
    const accept = [0, 1, 3, 10, 11, 12, 130];
    return run({ file: DATAMOVER, args, env: this.environment(env), accept, ...more });
  }

  /** Runs the command and fails unless it ends well. Answers with the JSON values on its standard output, one a line. */
  async json(args: readonly string[], invocation: Invocation = {}): Promise<unknown[]> {
    const { status, stdout, stderr } = await this.run(['--json', ...args], invocation);
    if (status !== 0) throw new Error(`datamover ${args.join(' ')}: exit ${status}: ${stderr}`);
    return stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as unknown);
  }

  async start(args: readonly string[], { env, ...more }: Invocation = {}): Promise<Running> {
    return start({ file: DATAMOVER, args, env: this.environment(env), accept: [0, 130], ...more });
  }

  /** An image with some MiB of incompressible data. */
  async image(name: string, mebibytes: number): Promise<Buffer> {
    const content = randomBytes(mebibytes << 20);
    await writeFile(this.path(name), content);
    return content;
  }

  async remove(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}
