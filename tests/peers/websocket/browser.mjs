// Two pages of the chat in one headless Chromium. Both talk all the time; one loses its connection again and again, by
// its button. At the end both show the same: everything that was said, once, in one order.
//
//     browser.mjs http://HOST:PORT/
import { createRequire } from 'node:module';
import assert from 'node:assert/strict';

// The packages lie where install.sh put them.
const { chromium } = createRequire(process.env.NODE_FOLDER + '/x.js')('playwright-core');
const SAID = 60;
const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: [
        '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
        '--disable-background-networking', '--disable-component-update', '--disable-sync',
    ],
});
try {
    const pages = [];
    for (let n = 0; n < 2; n++) {
        const page = await browser.newPage();
        page.on('pageerror', (error) => { console.log(`  page ${n}: ${error}`); process.exitCode = 1; });
        await page.goto(process.argv[2]);
        await page.waitForSelector('#state.open', { timeout: 10000 });
        pages.push(page);
    }
    const [steady, shaky] = pages;
    let drops = 0;
    for (let n = 0; n < SAID; n++) {
        for (const [name, page] of [['steady', steady], ['shaky', shaky]]) {
            await page.fill('#text', `${name} ${n}`);
            await page.press('#text', 'Enter');
        }
        if (n % 20 === 10) {
            // Nothing is awaited between this and what is said next.
            await shaky.click('#drop');
            drops++;
            await shaky.waitForSelector('#state.waiting', { timeout: 10000 });
            if (drops === 1 && process.env.SCREENSHOT) await shaky.screenshot({ path: process.env.SCREENSHOT });
        }
        if (n % 20 === 15) await shaky.waitForSelector('#state.open', { timeout: 10000 });
    }
    const shown = [];
    for (const page of pages) {
        const all = (count) => document.querySelectorAll('#messages .message').length >= count;
        await page.waitForFunction(all, 2 * SAID, { timeout: 20000 });
        shown.push(await page.locator('#messages .message').allTextContents());
        assert.equal(await page.locator('#messages .pending').count(), 0, 'something is unconfirmed');
        assert.equal(await page.locator('#messages .note').count(), 0, 'something was missed');
    }
    assert.deepEqual(shown[0], shown[1], 'the pages show different things');
    assert.equal(shown[0].length, 2 * SAID);
    shown[0].forEach((line, n) => assert.equal(Number(line.split(' ')[0]), n + 1, 'the numbers have a gap'));
    for (const name of ['steady', 'shaky']) {
        const order = shown[0].filter((line) => line.includes(`: ${name} `)).map((line) => Number(line.split(' ').at(-1)));
        assert.deepEqual(order, [...Array(SAID).keys()], `${name} was lost, doubled or disordered`);
    }
    const connections = Number((await shaky.textContent('#facts')).match(/connection (\d+)/)[1]);
    assert.equal(connections, 1 + drops);
    if (process.env.SCREENSHOT) await shaky.screenshot({ path: process.env.SCREENSHOT + '-after.png' });
    console.log(`browser: ${2 * SAID} messages on both pages, each once, in one order, over ${drops} lost connections`);
} finally {
    await browser.close();
}
