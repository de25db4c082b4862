// EventSource in Chromium against our server: events in order, across a drain and a kill of the server, none lost or doubled.
import { spawn } from 'node:child_process';
import { chromium } from 'playwright-core';

const [server, executablePath] = process.argv.slice(2);
const flags = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'];

function check(holds, what) {
    console.log(`${holds ? 'ok     ' : 'FAILED '} ${what}`);
    if (!holds) process.exitCode = 1;
}

// Starts the server and tells its URL once it listens.
function start(port) {
    const child = spawn(server, ['--port', String(port)], { stdio: ['ignore', 'ignore', 'pipe'] });
    child.report = '';
    child.ended = new Promise(resolve => child.on('exit', resolve));
    const url = new Promise((resolve, reject) => {
        child.stderr.on('data', text => {
            child.report += text;
            const found = /serving on (\S+)/.exec(child.report);
            if (found) resolve(found[1]);
        });
        child.ended.then(() => reject(new Error(`the server ended: ${child.report}`)));
    });
    return { child, url };
}

let { child, url } = start(0);
const browser = await chromium.launch({ executablePath, headless: true, args: flags });
try {
    const base = await url;
    const port = Number(new URL(base).port);
    const page = await browser.newPage();
    await page.goto(`${base}/page`);
    const seen = () => page.evaluate(() => window.seen);
    const until = count => page.waitForFunction(count => window.seen.length >= count, count, { timeout: 30000 });

    await until(5);
    check(true, 'events arrive in a page');

    child.kill('SIGINT');
    await child.ended;
    check(/1 of 1 connections ended in order|2 of 2 connections ended in order/.test(child.report), `the drain ended the stream in order: ${child.report.split('\n')[1]}`);
    ({ child, url } = start(port));
    await url;
    await until((await seen()).length + 5);
    check(true, 'they go on after the server drained and came again');

    child.kill('SIGKILL');
    await child.ended;
    ({ child, url } = start(port));
    await url;
    await until((await seen()).length + 5);
    check(true, 'they go on after the server was killed and came again');

    const ids = (await seen()).map(Number);
    check(ids.every((id, n) => id === n + 1), `${ids.length} events, none lost and none doubled: ${ids[0]} to ${ids.at(-1)}`);
    const opened = await page.evaluate(() => window.opened);
    check(opened === 3, `the page connected ${opened} times`);
} finally {
    await browser.close();
    child.kill('SIGKILL');
}
