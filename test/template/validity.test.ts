import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { loadAwsServiceSpecSync } from '@aws-cdk/aws-service-spec';
import type { Property, PropertyType, SpecDatabase } from '@aws-cdk/service-spec-types';
import { z } from 'zod';
import { cacheFolder } from './service.ts';
import { isObject, list, Template, text } from './template.ts';
import type { Json } from './template.ts';

const specification = loadAwsServiceSpecSync();

describe.each(['default', 'vpc', 'least'] as const)('the template, variant %s', (variant) => {
  const template = new Template(variant);

  test('has no errors and no warnings of cfn-lint', () => {
    const { status, stdout, stderr } = spawnSync(
      path.join(cacheFolder(), 'venv/bin/cfn-lint'),
      ['--include-checks', 'W', '--template', template.file],
      { encoding: 'utf8' },
    );
    expect(`${stdout}${stderr}`).toBe('');
    expect(status).toBe(0);
  });

  test.each(Object.keys(template.all))('%s is what its schema says', (id) => {
    const { Type, Properties } = template.all[id] ?? { Type: '', Properties: {} };
    const [known] = specification.lookup('resource', 'cloudFormationType', 'equals', Type);
    expect(known?.cloudFormationType).toBe(Type);
    expect(known === undefined ? [] : problems(specification, known.properties, Properties, id)).toEqual([]);
  });

  test('refers to what is there', () => {
    const known = new Set([...Object.keys(template.all), ...template.parameters]);
    const wanted = [...Object.entries(template.all), ...Object.entries(template.outputs)].flatMap(([id, value]) =>
      references(z.json().parse(value)).map((name) => ({ id, name })),
    );
    expect(wanted.filter(({ name }) => !known.has(name) && !name.startsWith('AWS::'))).toEqual([]);
    expect(wanted.length).toBeGreaterThan(100);
  });

  test('refers to attributes that there are', () => {
    const wrong = attributes(Object.values(template.all).map(({ Properties }) => Properties)).filter(([id = '', name = '']) => {
      const [known] = specification.lookup('resource', 'cloudFormationType', 'equals', template.all[id]?.Type ?? '');
      return known === undefined || !(name in known.attributes || name in known.properties);
    });
    expect(wrong).toEqual([]);
  });

  test('what is made refers to nothing that is left out', () => {
    const made = new Map(template.resources);
    const left = Object.keys(template.all).filter((id) => !made.has(id));
    const mentioned = [...made.keys()].flatMap((id) =>
      left.filter((other) => JSON.stringify(template.properties(id)).includes(`"${other}`)),
    );
    expect(mentioned).toEqual([]);
    expect(left.length).toBeGreaterThanOrEqual(variant === 'vpc' ? 0 : 10);
  });

  test('has no circle of dependencies', () => {
    expect(circle(template)).toBeNull();
  });
});

test('a circle of dependencies would be found', () => {
  const template = new Template('default');
  const { JobsRole } = template.all;
  if (JobsRole === undefined) throw new Error('JobsRole is missing');
  JobsRole.DependsOn = ['PublishJob'];
  expect(circle(template)).toEqual(['JobsRole', 'PublishJob', 'JobsRole']);
});

/** Names of resources and parameters that a value refers to. */
function references(value: Json): string[] {
  if (Array.isArray(value)) return value.flatMap(references);
  if (!isObject(value)) return [];
  return Object.entries(value).flatMap(([key, inner]) => {
    if (key === 'Ref' || (key === 'DependsOn' && typeof inner === 'string')) return [text(inner)];
    if (key === 'DependsOn') return list(inner).map(text);
    if (key === 'Fn::GetAtt') return [attributeOf(inner)[0]];
    if (key !== 'Fn::Sub') return references(inner);
    const [pattern = '', own = {}] = list(inner);
    const names = [...text(pattern).matchAll(/\$\{([^!}][^}]*)\}/g)].map(([, name = '']) => name);
    const free = names
      .filter((name) => !(isObject(own) && name in own))
      .map((name) => (name.startsWith('AWS::') ? name : (name.split('.')[0] ?? '')));
    return [...free, ...references(own)];
  });
}

function attributes(value: Json): string[][] {
  if (Array.isArray(value)) return value.flatMap(attributes);
  if (!isObject(value)) return [];
  return Object.entries(value).flatMap(([key, inner]) => (key === 'Fn::GetAtt' ? [attributeOf(inner)] : attributes(inner)));
}

function attributeOf(argument: Json): [id: string, name: string] {
  const [id = '', ...name] = Array.isArray(argument) ? argument.map(text) : text(argument).split('.');
  return [id, name.join('.')];
}

function circle(template: Template): string[] | null {
  const next = (id: string) => references(z.json().parse(template.all[id])).filter((name) => name in template.all);
  const done = new Set<string>();
  const walk = (id: string, way: readonly string[]): string[] | null => {
    if (way.includes(id)) return [...way.slice(way.indexOf(id)), id];
    if (done.has(id)) return null;
    for (const each of next(id)) {
      const found = walk(each, [...way, id]);
      if (found !== null) return found;
    }
    done.add(id);
    return null;
  };
  for (const id of Object.keys(template.all)) {
    const found = walk(id, []);
    if (found !== null) return found;
  }
  return null;
}

/** What is wrong with properties, by the schema that AWS publishes for each resource type. */
function problems(database: SpecDatabase, schema: Readonly<Record<string, Property>>, value: Json, place: string): string[] {
  if (!isObject(value)) return [`${place}: expected an object`];
  if (isIntrinsic(value)) return [];
  const unknown = Object.keys(value).filter((name) => !(name in schema));
  const missing = Object.entries(schema).filter(([name, { required }]) => required === true && !(name in value));
  return [
    ...unknown.map((name) => `${place}: unknown property ${name}`),
    ...missing.map(([name]) => `${place}: ${name} is missing`),
    ...Object.entries(value).flatMap(([name, inner]) => {
      const type = schema[name]?.type;
      return type === undefined ? [] : problemsOfType(database, type, inner, `${place}.${name}`);
    }),
  ];
}

function problemsOfType(database: SpecDatabase, type: PropertyType, value: Json, place: string): string[] {
  if (isIntrinsic(value)) return [];
  switch (type.type) {
    case 'ref':
      return problems(database, database.get('typeDefinition', type.reference.$ref).properties, value, place);
    case 'array':
      return Array.isArray(value)
        ? value.flatMap((each, at) => problemsOfType(database, type.element, each, `${place}[${at}]`))
        : [`${place}: expected a list`];
    case 'map':
      return isObject(value)
        ? Object.entries(value).flatMap(([name, each]) => problemsOfType(database, type.element, each, `${place}.${name}`))
        : [`${place}: expected a map`];
    case 'integer':
    case 'number':
      return value === '' || Number.isNaN(Number(value)) ? [`${place}: expected a number, found ${JSON.stringify(value)}`] : [];
    case 'boolean':
      return [true, false, 'true', 'false'].some((each) => each === value) ? [] : [`${place}: expected true or false`];
    case 'string':
      return typeof value === 'object' ? [`${place}: expected text`] : [];
    default:
      return []; // JSON, unions and the like: cfn-lint looks at them
  }
}

function isIntrinsic(value: Json): boolean {
  const [key, ...others] = isObject(value) ? Object.keys(value) : [];
  return key !== undefined && others.length === 0 && (key === 'Ref' || key.startsWith('Fn::'));
}
