// Play a party of two in Chromium, and take a picture of each page. Started by scripts/screenshots.
// arguments: the program of Chromium, the address of the server, the directory for the pictures.

const { chromium } = require("playwright-core");

const [program, url, directory] = process.argv.slice(2);
const PARTY = '#app[data-screen="party"]';
const LIMIT_MS = 60_000;

async function join(browser, address, name, viewport) {
  const context = await browser.newContext({ viewport, colorScheme: "light" });
  const page = await context.newPage();
  page.setDefaultTimeout(LIMIT_MS);
  await page.goto(address);
  await page.fill("#name", name);
  await page.click("#start-button");
  await page.waitForSelector(PARTY);
  return page;
}

async function say(page, text, readers) {
  await page.fill("#chat-text", text);
  await page.press("#chat-text", "Enter");
  for (const reader of readers) await reader.waitForFunction((words) => document.body.innerText.includes(words), text);
}

async function main() {
  const browser = await chromium.launch({
    executablePath: program,
    args: ["--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required"],
  });
  try {
    const host = await join(browser, url, "Ann", { width: 1280, height: 800 });
    const link = host.url();
    const guest = await join(browser, link, "Bob", { width: 390, height: 844 });
    await host.click("#play");
    for (const page of [host, guest]) await page.waitForFunction(() => document.querySelector("video").currentTime > 4);
    await say(guest, "Is that the right episode?", [host, guest]);
    await say(host, "Yes, it starts now.", [host, guest]);
    for (const page of [host, guest]) {
      await page.evaluate(() => {
        document.activeElement.blur();
        scrollTo(0, 0);
      });
    }
    await host.screenshot({ path: `${directory}/party-desktop.png` });
    await guest.screenshot({ path: `${directory}/party-phone.png` });
  } finally {
    await browser.close();
  }
}

main().catch((error) => {
  console.error(`screenshots: ${error.message}`);
  process.exit(1);
});
