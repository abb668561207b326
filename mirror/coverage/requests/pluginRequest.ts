/** A module that a gateway will fetch, and the resource or setting that makes it do so. */
export interface PluginRequest {
  readonly kind: ConsumerKind;
  /** The consumer as reports name it: `Console 2.2.5`, `WasmPlugin higress-system/ai-proxy`. */
  readonly consumer: string;
  /** As the gateway gets it; a path alone (`/plugins/…`) where only the Higress release is known, not the address. */
  readonly url: string;
  /** Name and version as the consumer knows them, whatever its URL is. */
  readonly plugin?: string;
  readonly version?: string;
  /** `REPOSITORY:TAG` of the image that the consumer means, whatever the version in the URL is. */
  readonly image?: string;
  /** The digest of that image, where the release recorded one. */
  readonly digest?: string;
  /** `spec.sha256`, with which the gateway compares the module's. */
  readonly sha256?: string;
  readonly failStrategy: FailStrategy;
  readonly imagePullPolicy?: string;
  /** True for a resource that Higress keeps from the gateway until one of its rules is enabled. */
  readonly disabled?: true;
  readonly source: RequestSource;
}

type ConsumerKind = 'console' | 'controller' | 'all-in-one' | 'wasmplugin' | 'url';

/**
 * How the gateway handles a route whose plugin cannot be loaded. Under FAIL_CLOSE it returns 5xx; that is the default of Istio
 * and of Higress (value 0 in wasmplugin.proto of both). Higress Console writes FAIL_OPEN into its resources.
 */
export type FailStrategy = 'FAIL_CLOSE' | 'FAIL_OPEN';

/** The origin of a request or a problem. Document and line count from 1. */
export interface RequestSource {
  /** A path, `-` for standard input, or an option. */
  readonly file: string;
  readonly document?: number;
  readonly line?: number;
}

/** A part of the input that could not be used. The rest was read all the same. */
export interface InputProblem {
  readonly source: RequestSource;
  readonly found: string;
  readonly expected: string;
  readonly hint?: string;
}

export interface RequestsRead {
  readonly requests: readonly PluginRequest[];
  readonly problems: readonly InputProblem[];
}

/** Returns `file, document 2, line 7`, with the parts that are known. */
export function formatSource({ file, document, line }: RequestSource): string {
  return [
    file,
    ...(document === undefined ? [] : [`document ${document}`]),
    ...(line === undefined ? [] : [`line ${line}`]),
  ].join(', ');
}

/** A request that a user wrote on the command line. */
export function requestOfUrl(url: string): PluginRequest {
  return { kind: 'url', consumer: '--url', url, failStrategy: 'FAIL_CLOSE', source: { file: '--url' } };
}
