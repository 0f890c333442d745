import { list, object, text, texts } from './template.ts';
import type { JsonObject, Template } from './template.ts';

/** One statement of a policy, resolved. */
export interface Statement {
  effect: 'Allow' | 'Deny';
  actions: string[];
  resources: string[];
  principal: JsonObject | string | undefined;
  condition: JsonObject | undefined;
}

/** The statements of any policy document. */
export function statementsIn(document: JsonObject): Statement[] {
  return list(document['Statement']).map((each) => {
    const { Effect, Action, Resource, Principal, Condition } = object(each);
    if (Effect !== 'Allow' && Effect !== 'Deny')
      throw new Error(`a statement that neither allows nor denies: ${JSON.stringify(each)}`);
    return {
      effect: Effect,
      actions: texts(Action),
      resources: texts(Resource),
      principal: Principal === undefined ? undefined : typeof Principal === 'string' ? Principal : object(Principal),
      condition: Condition === undefined ? undefined : object(Condition),
    };
  });
}

/** What a role or a managed policy allows: its own documents, and those of policies that are attached to it. */
export function statementsOf(template: Template, id: string): Statement[] {
  const { PolicyDocument, Policies } = template.properties(id);
  const own = list(Policies).map((policy) => object(object(policy)['PolicyDocument']));
  const attached = template
    .ofType('AWS::IAM::Policy')
    .filter(([, { Roles }]) => texts(Roles).includes(id))
    .map(([, properties]) => object(properties['PolicyDocument']));
  return [...(PolicyDocument === undefined ? [] : [object(PolicyDocument)]), ...own, ...attached].flatMap(statementsIn);
}

/** Whether statements without conditions allow an action on a resource, by IAM's rules for asterisks. */
export function allows(statements: readonly Statement[]): (action: string, resource: string) => boolean {
  return (action, resource) => {
    const matching = statements.filter(
      ({ actions, resources }) =>
        actions.some((each) => matches(each, action)) && resources.some((each) => matches(each, resource)),
    );
    return matching.some(({ effect }) => effect === 'Allow') && !matching.some(({ effect }) => effect === 'Deny');
  };
}

function matches(pattern: string, value: string): boolean {
  const escaped = text(pattern)
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.');
  return new RegExp(`^${escaped}$`).test(value);
}
