// An app that knows nothing of runsd: prints the status of each URL.
for (const url of process.argv.slice(2)) {
  const response = await fetch(url, { signal: AbortSignal.timeout(30_000) });
  await response.arrayBuffer();
  console.log(response.status);
}
