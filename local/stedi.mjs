#!/usr/bin/env node
// The product needs Node 24 (for node:sqlite and TypeScript as is). It comes with the packages; any Node can start this file.
import { spawn } from 'node:child_process';
import module from 'node:module';
import { constants } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

if (process.versions.node.startsWith('24.')) {
  // Whoever kills the parent process means this one too.
  process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));
  process.channel?.unref();
  module.enableCompileCache();
  await import('./cli.ts');
} else {
  const folder = path.dirname(module.createRequire(import.meta.url).resolve('node/package.json'));
  const node = path.join(folder, 'bin', process.platform === 'win32' ? 'node.exe' : 'node');
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
  });
  // The child decides when to end. A terminal's Ctrl-C has already reached it; a second signal would end it at once.
  const isInTerminal = [process.stdin, process.stdout, process.stderr].some(({ isTTY }) => isTTY);
  process.on('SIGINT', () => isInTerminal || child.kill('SIGINT'));
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  child.on('error', () => {
    console.error(`${node} can't be started; run "npm ci" in ${path.dirname(path.dirname(fileURLToPath(import.meta.url)))}`);
    process.exit(1);
  });
  child.on('exit', (code, signal) => {
    // A shell would report it, were the child its own.
    if (signal === 'SIGKILL' || signal === 'SIGSEGV' || signal === 'SIGABRT')
      console.error(`stedi was ended by ${signal}; most often memory is short. Nothing is half done: give the command again`);
    process.exit(code ?? 128 + constants.signals[signal]);
  });
}
