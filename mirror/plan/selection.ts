import picomatch from 'picomatch';
import { Refusal } from '../../base/refusal.ts';
import type { PluginManifest } from '../manifest/wanted.ts';
import type { Published } from '../report.ts';

export class SelectionEmpty extends Refusal {
  readonly code = 'SELECTION_EMPTY';
}

/**
 * The part of a manifest that `--only` names. A glob is matched against `NAME` and against `NAME/VERSION`; an alias comes
 * along with its target. `!GLOB` takes away from what the others fit, or from everything if there are no others; the order
 * is all one. No globs: everything. `left`: what stands in the tree, where a run prunes; a glob may mean just that.
 * @throws SelectionEmpty if a glob matches nothing, since that is a slip of the pen far more often than a wish, or if
 * nothing is left
 */
export function selectVersions(
  manifest: PluginManifest,
  globs: readonly string[],
  left: readonly Published[] = [],
): PluginManifest {
  if (globs.length === 0) return manifest;
  const everything = [...manifest.versions, ...manifest.aliases, ...left];
  for (const glob of globs) if (!everything.some(readGlob(glob).fits)) throw nothingFits(manifest, glob);
  const { fits: selected, isTaken } = readGlobs(globs);
  const aliases = manifest.aliases.filter(selected);
  const targets = new Set(aliases.map(alias => `${alias.name}/${alias.target}`));
  const versions = manifest.versions.filter(
    it => selected(it) || (targets.has(`${it.name}/${it.version}`) && !isTaken(it)),
  );
  if (versions.length === 0 && !left.some(selected)) throw nothingLeft(manifest, globs);
  const chosen = new Set(versions.map(it => `${it.name}/${it.version}`));
  return { ...manifest, versions, aliases: manifest.aliases.filter(it => chosen.has(`${it.name}/${it.target}`)) };
}

/** What the globs fit, in the manifest or not; everything if there are none. */
export function selects(globs: readonly string[]): (it: Named) => boolean {
  return readGlobs(globs).fits;
}

interface Named {
  readonly name: string;
  readonly version: string;
}

function readGlobs(globs: readonly string[]): {
  readonly fits: (it: Named) => boolean;
  /** A `!GLOB` takes it away. */
  readonly isTaken: (it: Named) => boolean;
} {
  const read = globs.map(readGlob);
  const giving = read.filter(({ takes }) => !takes);
  const taking = read.filter(({ takes }) => takes);
  const isTaken = (it: Named) => taking.some(({ fits }) => fits(it));
  return { fits: it => (giving.length === 0 || giving.some(({ fits }) => fits(it))) && !isTaken(it), isTaken };
}

/**
 * Left to itself the matcher would negate `!GLOB` for NAME and for NAME/VERSION each, and one of the two nearly always fits.
 * `!(a|b)` is no negation but a pattern for one part of a path.
 */
function readGlob(glob: string): { readonly takes: boolean; readonly fits: (it: Named) => boolean } {
  const signs = /^(?:!(?!\())*/.exec(glob)?.[0].length ?? 0;
  const pattern = glob.slice(signs);
  const matches = pattern === '' ? () => false : picomatch(pattern);
  return { takes: signs % 2 === 1, fits: it => matches(it.name) || matches(`${it.name}/${it.version}`) };
}

/** `--update NAME…`: every name must be one of the manifest's, and of what `--only` leaves of it. @throws SelectionEmpty */
export function requireNamed(manifest: PluginManifest, selected: PluginManifest, names: readonly string[]): void {
  for (const name of names) {
    if (!manifest.versions.some(it => it.name === name))
      throw new SelectionEmpty(`--update ${name}: ${manifest.file} has no plugin of that name`, {
        subject: name,
        expected: 'the name of a plugin',
        found: pluginsOf(manifest),
        hint: 'Name a plugin of the manifest, or none to update them all.',
      });
    if (!selected.versions.some(it => it.name === name))
      throw new SelectionEmpty(`--update ${name}: --only leaves this plugin out, so that nothing would be updated`, {
        subject: name,
        expected: 'a plugin that --only fits, too',
        found: pluginsOf(selected),
        hint: `Leave --only out, or add ${name} to it.`,
      });
  }
}

function pluginsOf(manifest: PluginManifest): string {
  const names = [...new Set(manifest.versions.map(it => it.name))];
  return `${names.length} plugins: ${names.slice(0, 8).join(', ')}${names.length > 8 ? ', …' : ''}`;
}

function nothingFits(manifest: PluginManifest, glob: string): SelectionEmpty {
  return new SelectionEmpty(`--only ${glob} fits no plugin of ${manifest.file}`, {
    subject: glob,
    expected: 'a glob over NAME or NAME/VERSION',
    found: pluginsOf(manifest),
    hint: 'Name a plugin of the manifest, or quote the glob so that the shell leaves it alone.',
  });
}

function nothingLeft(manifest: PluginManifest, globs: readonly string[]): SelectionEmpty {
  return new SelectionEmpty(`--only ${globs.join(' ')} leaves no plugin of ${manifest.file}`, {
    subject: globs.join(' '),
    expected: 'globs that leave something',
    found: pluginsOf(manifest),
    hint: 'A !GLOB takes away from what the other globs fit: drop one of them, or name more plugins.',
  });
}
