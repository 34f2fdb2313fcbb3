// Hooks that SEED.md does not use: usePaginatedQuery, and useMutation with an optimistic update.
// Every value that was ever rendered is kept in `window.rendered`.

import {
  ConvexProvider,
  ConvexReactClient,
  useMutation,
  usePaginatedQuery,
  useQuery,
} from "convex/react";
import { anyApi as api } from "convex/server";
import { createRoot } from "react-dom/client";

const client = new ConvexReactClient(process.env.NEXT_PUBLIC_CONVEX_URL);

window.rendered = { counts: [], pages: [] };

function Counter({ name }) {
  const count = useQuery(api.probe.count, { name });
  const add = useMutation(api.probe.add).withOptimisticUpdate((store, { amount }) => {
    const seen = store.getQuery(api.probe.count, { name });
    if (seen !== undefined) store.setQuery(api.probe.count, { name }, seen + amount);
  });
  window.page.add = (amount) => add({ name, amount });
  window.rendered.counts.push(count ?? null);
  return <output>{count}</output>;
}

function Entries({ topic }) {
  const { results, status, loadMore } = usePaginatedQuery(
    api.probe.page,
    { topic },
    { initialNumItems: 3 },
  );
  window.page.loadMore = loadMore;
  window.rendered.pages.push({ bodies: results.map((entry) => entry.body), status });
  return <ol title={status}>{results.map((entry) => <li key={entry._id}>{entry.body}</li>)}</ol>;
}

window.page = {};
createRoot(document.getElementById("root")).render(
  <ConvexProvider client={client}>
    <Counter name={window.counter} />
    <Entries topic={window.topic} />
  </ConvexProvider>,
);

window.visible = () => ({
  count: document.querySelector("output")?.textContent,
  status: document.querySelector("ol")?.title,
  bodies: [...document.querySelectorAll("li")].map((item) => item.textContent),
});
