/* Python in a worker of the page: boots Pyodide from beside this file, answers one message at a time. */
import { loadPyodide } from "./pyodide/pyodide.mjs";

const text = async (name) => (await fetch(new URL(name, import.meta.url))).text();
const bytes = async (name) => (await fetch(new URL(name, import.meta.url))).arrayBuffer();

async function boot() {
  const [kvlib, kernel, needed, pyodide] = await Promise.all([
    bytes("kvlib.zip"),
    text("kernel.py"),
    text("needed.py"),
    loadPyodide({ indexURL: new URL("pyodide/", import.meta.url).href, packages: ["numpy"] }),
  ]);
  pyodide.unpackArchive(kvlib, "zip", { extractDir: "/book" });
  pyodide.FS.writeFile("/book/needed.py", needed);
  pyodide.FS.writeFile("/book/kernel.py", kernel);
  pyodide.runPython("import sys; sys.path.insert(0, '/book'); import kernel");
  return { pyodide, kernel: pyodide.pyimport("kernel") };
}

const booted = boot();
booted.then(
  () => postMessage({ ready: true }),
  (error) => postMessage({ failed: String(error) }),
);

/* A module that the code wants and that is here to be loaded is loaded, and the code run again. */
async function answer({ what, arguments: given }) {
  const { pyodide, kernel } = await booted;
  const loaded = new Set();
  for (;;) {
    const found = JSON.parse(kernel.answer(what, JSON.stringify(given)));
    if (!found.missing || loaded.has(found.missing)) return found;
    loaded.add(found.missing);
    await pyodide.loadPackagesFromImports(`import ${found.missing}`);
  }
}

let queue = Promise.resolve();
onmessage = ({ data }) => {
  queue = queue
    .then(() => answer(data))
    .then(
      (found) => postMessage({ id: data.id, found }),
      (error) => postMessage({ id: data.id, found: { error: String(error) } }),
    );
};
