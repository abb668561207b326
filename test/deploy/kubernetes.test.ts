import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { before, describe, it } from 'node:test';
import { parse } from 'yaml';
import { buildProgram } from '../../cli/program.ts';

const folder = resolve(import.meta.dirname, '../../deploy/kubernetes/base');
const labels = { app: 'higress-plugin-server', higress: 'higress-plugin-server' };

/** Of apps/v1 Deployment, what is asserted below. */
interface Deployment {
  readonly metadata: { readonly name: string; readonly labels: object };
  readonly spec: {
    readonly replicas: number;
    readonly selector: { readonly matchLabels: object };
    readonly strategy: object;
    readonly template: {
      readonly metadata: { readonly labels: object };
      readonly spec: {
        readonly terminationGracePeriodSeconds: number;
        readonly securityContext: object;
        readonly automountServiceAccountToken: boolean;
        readonly enableServiceLinks: boolean;
        readonly containers: readonly [Container, ...Container[]];
      };
    };
  };
}

interface Container {
  readonly image: string;
  readonly imagePullPolicy: string;
  readonly ports: readonly [{ readonly name: string; readonly containerPort: number }];
  readonly resources: object;
  readonly securityContext: object;
  readonly startupProbe: Probe;
  readonly readinessProbe: Probe;
  readonly livenessProbe: Probe;
}

interface Probe {
  readonly httpGet: { readonly path: string; readonly port: string };
  readonly failureThreshold: number;
  readonly periodSeconds: number;
}

interface Service {
  readonly metadata: Deployment['metadata'];
  readonly spec: { readonly type: string; readonly selector: object; readonly ports: readonly object[] };
}

interface Kustomization {
  readonly namespace: string;
  readonly images: readonly [{ readonly name: string; readonly newTag: string }];
}

async function read<T>(name: string): Promise<T> {
  return parse(await readFile(`${folder}/${name}`, 'utf8')) as T;
}

describe('deploy/kubernetes', () => {
  let deployment: Deployment;
  let service: Service;
  let kustomization: Kustomization;
  before(async () => {
    [deployment, service, kustomization] = await Promise.all([
      read<Deployment>('deployment.yaml'),
      read<Service>('service.yaml'),
      read<Kustomization>('kustomization.yaml'),
    ]);
  });

  it('runs a version of the image, not whatever a node has under a moving tag', () => {
    const [image] = kustomization.images;
    assert.match(image.newTag, /^\d+\.\d+\.\d+$/);
    assert.equal(deployment.spec.template.spec.containers[0].image, image.name);
    assert.equal(deployment.spec.template.spec.containers[0].imagePullPolicy, 'IfNotPresent');
  });

  it("takes the place of Higress' own plugin server", () => {
    const { metadata, spec } = deployment;
    assert.equal(metadata.name, 'higress-plugin-server');
    assert.equal(kustomization.namespace, 'higress-system');
    for (const found of [metadata.labels, spec.selector.matchLabels, spec.template.metadata.labels])
      assert.deepEqual(found, labels);
    assert.equal(spec.replicas, 2);
    assert.deepEqual(spec.strategy, {
      type: 'RollingUpdate',
      rollingUpdate: { maxSurge: '25%', maxUnavailable: '25%' },
    });
    const [container] = spec.template.spec.containers;
    assert.deepEqual(container.ports, [{ name: 'http', containerPort: 8080, protocol: 'TCP' }]);
    assert.deepEqual(container.resources, {
      requests: { cpu: '200m', memory: '128Mi' },
      limits: { cpu: '500m', memory: '256Mi' },
    });
  });

  it('runs under the restricted Pod Security Standard, with a read-only root', () => {
    const { spec } = deployment.spec.template;
    assert.deepEqual(spec.securityContext, { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
    assert.deepEqual(spec.containers[0].securityContext, {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
    assert.equal(spec.automountServiceAccountToken, false);
  });

  it("is given no variables of the namespace's Services, whose names could be those of its options", () => {
    assert.equal(deployment.spec.template.spec.enableServiceLinks, false);
  });

  it('stops later than the server wants to drain', () => {
    const serve = buildProgram('0').commands.find(command => command.name() === 'serve');
    const defaultMs = (name: string) => Number(serve?.options.find(({ long }) => long === name)?.defaultValue);
    const drainMs = defaultMs('--drain-delay') + defaultMs('--grace');
    assert.ok(drainMs >= 20_000, 'downloads get 20 s');
    assert.ok(deployment.spec.template.spec.terminationGracePeriodSeconds * 1000 > drainMs + 5000);
  });

  it('is ready before it is asked to be alive, and never killed for being busy', () => {
    const [{ startupProbe, readinessProbe, livenessProbe }] = deployment.spec.template.spec.containers;
    assert.deepEqual(startupProbe.httpGet, { path: '/healthz', port: 'http' });
    assert.deepEqual(readinessProbe.httpGet, { path: '/readyz', port: 'http' });
    assert.deepEqual(livenessProbe.httpGet, { path: '/healthz', port: 'http' });
    assert.ok(livenessProbe.failureThreshold * livenessProbe.periodSeconds >= 60);
  });

  it('is reached on port 80 inside the cluster', () => {
    assert.equal(service.metadata.name, 'higress-plugin-server');
    assert.equal(service.spec.type, 'ClusterIP');
    assert.deepEqual(service.spec.selector, labels);
    assert.deepEqual(service.spec.ports, [{ name: 'http', port: 80, targetPort: 'http', protocol: 'TCP' }]);
  });
});
