import path from 'node:path';
import ts from 'typescript';
import { PROJECT } from '../support/service.ts';

/** One command of the SDK that a function may send. */
export interface Call {
  /** As in `@aws-sdk/client-<service>`. */
  service: string;
  /** Without the ending `Command`; one action of a transaction as `TransactWriteItems.Put`. */
  command: string;
  /** Names of the input's members, as far as its type tells. */
  input: string[];
}

const FUNCTIONS = path.join(PROJECT, 'functions') + path.sep;
const SDK = /@aws-sdk\/client-([a-z0-9-]+)\//;
const TRANSACTION = new Set(['ConditionCheck', 'Put', 'Update', 'Delete']);

/**
 * Follows the code of Lambda functions from their entry points to the commands that they send. A call to a port leads to the classes
 * that the entry point has created for it, so what a port could do but is never asked for does not count.
 */
export class Calls {
  readonly #program: ts.Program;
  readonly #checker: ts.TypeChecker;

  constructor(entries: readonly string[]) {
    const config = ts.readConfigFile(path.join(PROJECT, 'tsconfig.json'), (file) => ts.sys.readFile(file));
    const { options } = ts.parseJsonConfigFileContent(config.config, ts.sys, PROJECT);
    this.#program = ts.createProgram([...entries], options);
    this.#checker = this.#program.getTypeChecker();
  }

  /** The commands that can be reached from this entry point. */
  of(entry: string): Call[] {
    const source = this.#program.getSourceFile(entry);
    if (source === undefined) throw new Error(`${entry} is no source file of these functions`);
    return new Walk(this.#checker).from(source);
  }
}

/** One walk from one entry point. */
class Walk {
  readonly #checker: ts.TypeChecker;
  readonly #found = new Map<string, Call>();
  readonly #seen = new Set<ts.Node>();
  readonly #waiting: ts.Node[] = [];
  readonly #made = new Set<ts.ClassDeclaration>();
  readonly #asked = new Set<ts.Declaration>();

  constructor(checker: ts.TypeChecker) {
    this.#checker = checker;
  }

  from(source: ts.SourceFile): Call[] {
    this.#reach(source);
    for (let node = this.#waiting.pop(); node !== undefined; node = this.#waiting.pop()) this.#look(node);
    return [...this.#found.values()];
  }

  #reach(node: ts.Node | undefined): void {
    if (node === undefined || this.#seen.has(node)) return;
    this.#seen.add(node);
    this.#waiting.push(node);
  }

  #look(node: ts.Node): void {
    if (ts.isTypeNode(node) || ts.isImportDeclaration(node)) return;
    if (ts.isNewExpression(node)) this.#making(node);
    if (ts.isIdentifier(node) || ts.isPrivateIdentifier(node)) this.#mention(node);
    if (ts.isPropertyAssignment(node)) this.#transaction(node);
    // A class is searched member by member, as far as its members are used.
    ts.forEachChild(node, (child) => {
      if (!ts.isClassDeclaration(child)) this.#look(child);
    });
  }

  #symbolOf(node: ts.Node): ts.Symbol | undefined {
    const shorthand = ts.isShorthandPropertyAssignment(node.parent)
      ? this.#checker.getShorthandAssignmentValueSymbol(node.parent)
      : undefined;
    const symbol = shorthand ?? this.#checker.getSymbolAtLocation(node);
    return symbol !== undefined && (symbol.flags & ts.SymbolFlags.Alias) !== 0 ? this.#checker.getAliasedSymbol(symbol) : symbol;
  }

  #making(node: ts.NewExpression): void {
    for (const declaration of this.#symbolOf(node.expression)?.declarations ?? []) {
      const service = serviceOf(declaration);
      const command = /^(\w+)Command$/.exec(nameOf(declaration))?.[1];
      if (service !== undefined && command !== undefined) this.#find(service, command, node.arguments?.[0]);
      if (ts.isClassDeclaration(declaration) && isOurs(declaration)) this.#make(declaration);
    }
  }

  /** An object of this class exists: its constructor and fields ran, and ports that were asked lead to it. */
  #make(made: ts.ClassDeclaration): void {
    if (this.#made.has(made)) return;
    this.#made.add(made);
    for (const each of this.#lineOf(made)) {
      for (const member of each.members) {
        if (ts.isConstructorDeclaration(member) || ts.isPropertyDeclaration(member)) this.#reach(member);
      }
    }
    for (const asked of this.#asked) this.#answer(made, asked);
  }

  #mention(node: ts.Node): void {
    for (const declaration of this.#symbolOf(node)?.declarations ?? []) {
      const service = serviceOf(declaration);
      const paginated = /^paginate(\w+)$/.exec(nameOf(declaration))?.[1];
      if (service !== undefined && paginated !== undefined) this.#find(service, paginated, undefined);
      if (!isOurs(declaration)) continue;
      if (ts.isMethodSignature(declaration)) this.#ask(declaration);
      else if (
        ts.isFunctionDeclaration(declaration) ||
        ts.isMethodDeclaration(declaration) ||
        ts.isAccessor(declaration) ||
        ts.isVariableDeclaration(declaration)
      )
        this.#reach(declaration);
    }
  }

  /** A port is asked for something: every existing object that implements this port answers. */
  #ask(asked: ts.Declaration): void {
    if (this.#asked.has(asked)) return;
    this.#asked.add(asked);
    for (const made of this.#made) this.#answer(made, asked);
  }

  #answer(made: ts.ClassDeclaration, asked: ts.Declaration): void {
    const name = nameOf(asked);
    const line = this.#lineOf(made);
    const stands = line
      .flatMap((each) => each.heritageClauses ?? [])
      .flatMap((clause) => [...clause.types])
      .some((type) => this.#checker.getTypeAtLocation(type).getProperty(name)?.declarations?.includes(asked) === true);
    if (!stands) return;
    const member = line.flatMap((each) => [...each.members]).find((each) => each.name?.getText() === name);
    this.#reach(member);
  }

  /** A class and those that it extends. */
  #lineOf(made: ts.ClassDeclaration): ts.ClassDeclaration[] {
    const parent = made.heritageClauses?.find(({ token }) => token === ts.SyntaxKind.ExtendsKeyword)?.types[0];
    const declared =
      parent === undefined ? undefined : this.#symbolOf(parent.expression)?.declarations?.find(ts.isClassDeclaration);
    return declared === undefined || !isOurs(declared) ? [made] : [made, ...this.#lineOf(declared)];
  }

  #transaction(node: ts.PropertyAssignment): void {
    const name = node.name.getText();
    if (!TRANSACTION.has(name)) return;
    const type = this.#checker.getContextualType(node.parent);
    if (type?.symbol?.name === 'TransactWriteItem' || type?.aliasSymbol?.name === 'TransactWriteItem')
      this.#find('dynamodb', `TransactWriteItems.${name}`, undefined);
  }

  #find(service: string, command: string, argument: ts.Expression | undefined): void {
    const properties = argument === undefined ? [] : this.#checker.getTypeAtLocation(argument).getProperties();
    const input = properties.map(({ name }) => name);
    const known = this.#found.get(`${service} ${command}`);
    this.#found.set(`${service} ${command}`, { service, command, input: [...new Set([...(known?.input ?? []), ...input])] });
  }
}

/** The name it was declared with: an import may call it something else. */
function nameOf(declaration: ts.Declaration): string {
  return ts.getNameOfDeclaration(declaration)?.getText() ?? '';
}

function isOurs(declaration: ts.Declaration): boolean {
  return declaration.getSourceFile().fileName.startsWith(FUNCTIONS);
}

function serviceOf(declaration: ts.Declaration): string | undefined {
  return SDK.exec(declaration.getSourceFile().fileName)?.[1];
}
