"""What commands print: results, tables, and answers that are said again."""
