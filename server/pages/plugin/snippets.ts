import { stringify } from 'yaml';
import type { CatalogVersion } from '../../../tree/catalog.ts';
import { MODULE_FILE, resourceName } from '../../../tree/names.ts';
import type { SpecFile } from '../documents/specFile.ts';

export function moduleUrl(address: string, name: string, version: string): string {
  return `${address}/plugins/${name}/${version}/${MODULE_FILE}`;
}

/** A WasmPlugin that loads nothing until one of its configurations is enabled. */
export function wasmPluginText(url: string, name: string, { version, sha256 }: CatalogVersion, spec: SpecFile): string {
  const { phase, priority } = spec;
  return stringify(
    {
      apiVersion: 'extensions.higress.io/v1alpha1',
      kind: 'WasmPlugin',
      metadata: { name: resourceName(name, version), namespace: 'higress-system' },
      spec: {
        url,
        sha256,
        ...(phase === undefined ? {} : { phase }),
        ...(priority === undefined ? {} : { priority }),
        failStrategy: 'FAIL_OPEN',
        defaultConfigDisable: true,
      },
    },
    { lineWidth: 0 },
  ).trimEnd();
}

/** Returns `oci://registry/repository:tag@sha256:…`; undefined for a version that came from a local file. */
export function ociReference({ reference, digest }: CatalogVersion): string | undefined {
  if (!/^[\w.-]+(?::\d+)?\/[^\s]+$/.test(reference)) return undefined;
  return `oci://${reference.includes('@') ? reference : `${reference}@${digest}`}`;
}
