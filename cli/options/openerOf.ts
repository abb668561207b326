import type { Layout } from '../../layout/layout.ts';
import type { OpenBundle } from '../../mirror/bundle/openBundle.ts';
import type { PluginManifest } from '../../mirror/manifest/readManifest.ts';
import type { OpenRegistry } from '../../mirror/session.ts';
import type { RegistryOptions } from '../../registry/registry.ts';
import { OptionConflict } from './errors.ts';
import type { RegistryFlags } from './tables.ts';

/**
 * Returns the function that opens a command's registry, with the manifest's mirrors. It loads the network code only when it is
 * called. With a layout, everything is read from it. A user name on the command line is meant for one host: the one of
 * `--registry`, else that of the manifest.
 */
export function openerOf(
  manifest: PluginManifest,
  options: RegistryOptions,
  registry: string | undefined,
  layout?: Layout,
): OpenRegistry {
  return async onEvent => {
    const { openRegistry } = await import('../../registry/openRegistry.ts');
    const [host = ''] = (registry ?? manifest.registry).split('/');
    return openRegistry({
      mirrors: manifest.mirrors,
      credentialsFor: [host],
      ...options,
      onEvent,
      ...(layout === undefined ? {} : { layout }),
    });
  };
}

/**
 * Opens the bundle of --from. Options that only make sense with a registry are refused.
 * @param manifestPath the manifest that the user named; undefined: the bundle's own
 * @throws OptionConflict, and as openBundle
 */
export async function openFrom(
  path: string,
  { engine, update }: Pick<RegistryFlags, 'engine'> & { readonly update?: unknown },
  manifestPath: string | undefined,
): Promise<OpenBundle> {
  const conflict = update !== undefined ? '--update' : engine === 'oras' ? '--engine oras' : undefined;
  if (conflict === undefined) return (await import('../../mirror/bundle/openBundle.ts')).openBundle(path, manifestPath);
  throw new OptionConflict(`--from and ${conflict} contradict each other`, {
    expected: 'one of them',
    found: 'both',
    hint: `Leave ${conflict} out: the bundle has exactly the images of its lockfile, and no registry is asked.`,
  });
}
