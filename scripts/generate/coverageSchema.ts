import * as v from 'valibot';

/** The schema of what `coverage --format json` prints; coverage.schema.json is generated from it. */

const count = (description: string) => v.pipe(v.number(), v.integer(), v.minValue(0), v.description(description));

const source = {
  file: v.pipe(v.string(), v.description('A path, "-" for standard input, an option, or the Higress release.')),
  document: v.exactOptional(v.pipe(v.number(), v.integer(), v.minValue(1))),
  line: v.exactOptional(v.pipe(v.number(), v.integer(), v.minValue(1))),
};

const finding = v.strictObject({
  status: v.pipe(
    v.picklist(['served', 'notFound', 'otherPath', 'sha256Differs', 'otherHost', 'oci', 'file', 'fault', 'invalid']),
    v.description(
      'served: 200 with bytes that the gateway takes. notFound: 404. otherPath: 404, the module is here under another path. sha256Differs: the gateway refuses the bytes. otherHost: another host than the mirror. oci: an image, which HTTP cannot serve, or of a form that gateways cannot load over oci://. file: the gateway reads its own disk. fault: the server returned another status or no response. invalid: a gateway cannot fetch from this address.',
    ),
  ),
  consumer: v.pipe(v.string(), v.description('The consumer: "Console 2.2.5", "WasmPlugin higress-system/ai-proxy".')),
  kind: v.picklist(['console', 'controller', 'all-in-one', 'wasmplugin', 'url']),
  url: v.pipe(
    v.string(),
    v.description('As the gateway gets it, without a login; a path where the host is not known.'),
  ),
  name: v.exactOptional(v.pipe(v.string(), v.description('The plugin of the path that was looked up.'))),
  version: v.exactOptional(v.string()),
  failStrategy: v.picklist(['FAIL_CLOSE', 'FAIL_OPEN']),
  imagePullPolicy: v.exactOptional(v.string()),
  sha256: v.exactOptional(v.pipe(v.string(), v.description('spec.sha256 of the resource.'))),
  image: v.exactOptional(v.pipe(v.string(), v.description('REPOSITORY:TAG of the image that the consumer means.'))),
  disabled: v.exactOptional(v.pipe(v.literal(true), v.description('Higress keeps the resource from the gateway.'))),
  closesRoutes: v.exactOptional(v.pipe(v.boolean(), v.description('Of a miss: whether the gateway closes routes.'))),
  source: v.strictObject(source),
  detail: v.exactOptional(v.pipe(v.string(), v.description('The finding as a sentence.'))),
  warning: v.exactOptional(
    v.pipe(
      v.picklist(['otherImage', 'movedTag']),
      v.description('Served, but from another image than the Console means, or from other bytes of the same tag.'),
    ),
  ),
  fix: v.exactOptional(v.pipe(v.string(), v.description('The plugin whose line in "lines" serves it.'))),
});

export const coverageSchema = v.pipe(
  v.strictObject({
    schemaVersion: v.literal(1),
    served: v.pipe(v.string(), v.description('The manifest, folder or URL that the requests were looked up in.')),
    findings: v.pipe(
      v.array(finding),
      v.description('One for each request: those that close routes first, then the other misses, warnings, the rest.'),
    ),
    problems: v.pipe(
      v.array(
        v.strictObject({ ...source, found: v.string(), expected: v.string(), hint: v.exactOptional(v.string()) }),
      ),
      v.description('Parts of the input that could not be used.'),
    ),
    lines: v.pipe(
      v.array(v.strictObject({ plugin: v.string(), line: v.string() })),
      v.description('The lines of manifest.json that serve what it lacks; coverage --fix writes them.'),
    ),
    totals: v.strictObject({
      requests: count('All of them, disabled resources included.'),
      served: count('Requests that get their module.'),
      notServed: count('Requests that do not. The exit code is 3 unless it is 0.'),
      closingRoutes: count('Of those not served, the ones with failStrategy FAIL_CLOSE.'),
      warnings: count('Served from another image than the consumer means.'),
      disabled: count('Resources that Higress keeps from the gateway.'),
      local: count('Files of the gateway itself.'),
      problems: count('Parts of the input that could not be used.'),
    }),
  }),
  v.title('plugin-mirror coverage'),
  v.description('The requests of a cluster, looked up in a mirror.'),
);
