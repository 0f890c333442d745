import { readFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import type { Variant } from './package.ts';
import { cacheFolder } from './service.ts';

export type Json = z.infer<ReturnType<typeof z.json>>;
export type JsonObject = Record<string, Json>;

const resource = z.object({
  Type: z.string(),
  Properties: z.record(z.string(), z.json()).default({}),
  DependsOn: z.union([z.string(), z.array(z.string())]).optional(),
  Condition: z.string().optional(),
  DeletionPolicy: z.string().optional(),
  UpdateReplacePolicy: z.string().optional(),
});
const templateSchema = z.object({
  Parameters: z.record(z.string(), z.object({ Default: z.union([z.string(), z.number()]) })),
  Conditions: z.record(z.string(), z.json()),
  Resources: z.record(z.string(), resource),
  Outputs: z.record(z.string(), z.json()),
});
export type Resource = z.infer<typeof resource>;

const ACCOUNT = '123456789012';
const REGION = 'us-east-1';
const PSEUDO: Record<string, string> = {
  'AWS::AccountId': ACCOUNT,
  'AWS::Region': REGION,
  'AWS::Partition': 'aws',
  'AWS::URLSuffix': 'amazonaws.com',
};

/** What `Ref` and `Fn::GetAtt … Arn` of a resource are, by its type: which property holds its name, and how the ARN begins. */
const NAMING: Record<string, { name: string; arn?: string; refIsArn?: true }> = {
  'AWS::S3::Bucket': { name: 'BucketName', arn: 'arn:aws:s3:::' },
  'AWS::DynamoDB::Table': { name: 'TableName', arn: `arn:aws:dynamodb:${REGION}:${ACCOUNT}:table/` },
  'AWS::Glue::Database': { name: 'DatabaseInput.Name' },
  'AWS::Glue::Job': { name: 'Name' },
  'AWS::Glue::Connection': { name: 'ConnectionInput.Name' },
  'AWS::Athena::WorkGroup': { name: 'Name' },
  'AWS::SQS::Queue': { name: 'QueueName', arn: `arn:aws:sqs:${REGION}:${ACCOUNT}:` },
  'AWS::SNS::Topic': { name: 'TopicName', arn: `arn:aws:sns:${REGION}:${ACCOUNT}:`, refIsArn: true },
  'AWS::Lambda::Function': { name: 'FunctionName', arn: `arn:aws:lambda:${REGION}:${ACCOUNT}:function:` },
  'AWS::StepFunctions::StateMachine': {
    name: 'StateMachineName',
    arn: `arn:aws:states:${REGION}:${ACCOUNT}:stateMachine:`,
    refIsArn: true,
  },
  'AWS::Logs::LogGroup': { name: 'LogGroupName', arn: `arn:aws:logs:${REGION}:${ACCOUNT}:log-group:` },
  'AWS::Events::Rule': { name: 'Name', arn: `arn:aws:events:${REGION}:${ACCOUNT}:rule/` },
};

/** A packaged template as CloudFormation would deploy it: conditions decided, values resolved as far as they are known beforehand. */
export class Template {
  readonly folder: string;
  readonly file: string;
  /** Every resource, including those whose condition is false. */
  readonly all: Record<string, Resource>;
  readonly outputs: Record<string, Json>;
  readonly #parameters: Record<string, { Default: string | number }>;
  readonly #conditions: Record<string, Json>;

  constructor(variant: Variant) {
    this.folder = path.join(cacheFolder(), variant, '.serverless');
    this.file = path.join(this.folder, 'cloudformation-template-update-stack.json');
    const { Parameters, Conditions, Resources, Outputs } = templateSchema.parse(JSON.parse(readFileSync(this.file, 'utf8')));
    this.all = Resources;
    this.outputs = Outputs;
    this.#parameters = Parameters;
    this.#conditions = Conditions;
  }

  /** The resources that would be created. */
  get resources(): [id: string, resource: Resource][] {
    return Object.entries(this.all).filter(([, { Condition }]) => Condition === undefined || this.#isTrue({ Condition }));
  }

  ofType(type: string): [id: string, properties: JsonObject][] {
    return this.resources.filter(([, { Type }]) => Type === type).map(([id]) => [id, this.properties(id)]);
  }

  /** The properties of a resource, resolved. */
  properties(id: string): JsonObject {
    return z.record(z.string(), z.json()).parse(this.resolve(this.#resource(id).Properties) ?? {});
  }

  get parameters(): string[] {
    return Object.keys(this.#parameters);
  }

  get conditions(): string[] {
    return Object.keys(this.#conditions);
  }

  /** Intrinsic functions replaced by their values; `undefined` is AWS::NoValue. */
  resolve(value: Json): Json | undefined {
    if (Array.isArray(value)) return value.map((each) => this.resolve(each)).filter((each) => each !== undefined);
    if (typeof value !== 'object' || value === null) return value;
    const [only, ...others] = Object.entries(value);
    if (only !== undefined && others.length === 0) {
      const [name, argument] = only;
      if (name === 'Ref') return argument === 'AWS::NoValue' ? undefined : this.#ref(text(argument));
      if (name === 'Fn::GetAtt') return this.#attribute(...pathOf(argument));
      if (name === 'Fn::Sub') return this.#sub(argument);
      if (name === 'Fn::Join') return this.#join(argument);
      if (name === 'Fn::If') return this.#if(argument);
      if (name === 'Fn::GetAZs') return [`${REGION}a`, `${REGION}b`];
      if (name === 'Fn::Select') return this.#select(argument);
    }
    const entries = Object.entries(value).map(([key, inner]) => [key, this.resolve(inner)] as const);
    return Object.fromEntries(entries.flatMap(([key, inner]) => (inner === undefined ? [] : [[key, inner] as const])));
  }

  #resource(id: string): Resource {
    const found = this.all[id];
    if (found === undefined) throw new Error(`the template has no resource ${id}`);
    return found;
  }

  #ref(id: string): string {
    const known = PSEUDO[id] ?? this.#parameters[id]?.Default;
    if (known !== undefined) return String(known);
    return NAMING[this.#resource(id).Type]?.refIsArn === true ? this.#attribute(id, 'Arn') : this.#nameOf(id);
  }

  #nameOf(id: string): string {
    const { Type, Properties } = this.#resource(id);
    const path = NAMING[Type]?.name.split('.');
    const named = path?.reduce<Json | undefined>((inner, key) => (isObject(inner) ? inner[key] : undefined), Properties);
    return named === undefined ? id : text(this.resolve(named) ?? id);
  }

  #attribute(id: string, attribute: string): string {
    const arn = NAMING[this.#resource(id).Type]?.arn;
    if (attribute === 'Arn' && arn !== undefined) return `${arn}${this.#nameOf(id)}${arn.includes(':log-group:') ? ':*' : ''}`;
    if (/Name$/.test(attribute)) return this.#nameOf(id);
    return `${id}.${attribute}`;
  }

  #sub(argument: Json): string {
    const [pattern, values] = Array.isArray(argument) ? argument : [argument];
    return text(pattern ?? '').replace(/\$\{([^!}][^}]*)\}/g, (_, name: string) => {
      const own = isObject(values) ? values[name] : undefined;
      if (own !== undefined) return text(this.resolve(own) ?? '');
      const [id = '', attribute] = name.split('.');
      return attribute === undefined ? this.#ref(id) : this.#attribute(id, attribute);
    });
  }

  #join(argument: Json): string {
    const [separator, parts] = list(argument);
    return list(this.resolve(parts ?? []) ?? [])
      .map(text)
      .join(text(separator ?? ''));
  }

  #if(argument: Json): Json | undefined {
    const [condition, yes, no] = list(argument);
    const chosen = this.#isTrue({ Condition: condition ?? '' }) ? yes : no;
    return chosen === undefined ? undefined : this.resolve(chosen);
  }

  #select(argument: Json): Json | undefined {
    const [at, parts] = list(argument);
    return list(this.resolve(parts ?? []) ?? [])[Number(at)];
  }

  #isTrue(expression: Json): boolean {
    if (!isObject(expression)) throw new Error(`${JSON.stringify(expression)} is no condition`);
    const [name = '', argument = null] = Object.entries(expression)[0] ?? [];
    if (name === 'Condition') return this.#isTrue(this.#conditions[text(argument)] ?? null);
    if (name === 'Fn::Not') return !this.#isTrue(list(argument)[0] ?? null);
    if (name === 'Fn::Equals') {
      const [one, other] = list(argument).map((each) => text(this.resolve(each) ?? ''));
      return one === other;
    }
    throw new Error(`conditions with ${name} are not known here`);
  }
}

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function object(value: Json | undefined): JsonObject {
  if (!isObject(value)) throw new Error(`expected an object, found ${JSON.stringify(value)}`);
  return value;
}

/** One value or many, as a list. */
export function list(value: Json | undefined): Json[] {
  return value === undefined ? [] : Array.isArray(value) ? value : [value];
}

export function text(value: Json): string {
  if (typeof value !== 'string' && typeof value !== 'number') throw new Error(`expected text, found ${JSON.stringify(value)}`);
  return String(value);
}

export function texts(value: Json | undefined): string[] {
  return list(value).map(text);
}

function pathOf(argument: Json): [id: string, attribute: string] {
  const [id = '', ...rest] = Array.isArray(argument) ? argument.map(text) : text(argument).split('.');
  return [id, rest.join('.')];
}
