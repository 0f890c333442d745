import { openSession } from '../../local/duckdb/session.ts';

/** Opens a tables file, creating it if there is none: `node openTables.ts FILE`. */
const file = process.argv[2] ?? '';
const session = await openSession(file, `${file}.scratch`);
session.close();
