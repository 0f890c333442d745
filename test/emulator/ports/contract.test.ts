import { landingContract } from '../../contract/landing.ts';
import { versionedLandingContract } from '../../contract/versionedLanding.ts';
import { ledgerContract } from '../../contract/ledger.ts';
import { executionsContract, landingTablesContract, runFilesContract } from '../../contract/others.ts';
import { emulatorOfTests, newExecutions, newLanding, newLandingTables, newLedger, newRunFiles } from './benches.ts';

const emulator = emulatorOfTests();

// A claim of more than one transaction and more than one batch; ten thousand take two minutes here.
ledgerContract('DynamoDB', async () => newLedger(emulator()), { many: 2_000 });
landingContract('S3', async () => newLanding(emulator()));
versionedLandingContract('S3', async () => newLanding(emulator()));
runFilesContract('S3', async () => newRunFiles(emulator()));
landingTablesContract('Glue', async () => newLandingTables(emulator()));
executionsContract('Step Functions', async () => newExecutions(emulator()));
