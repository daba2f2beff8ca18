"""From rows of results.csv to panels, comparisons, tables, plots and the page. Imports neither JAX nor TensorFlow."""
