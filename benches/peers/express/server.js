// The reads of the users API with Express and pg, at their best for them: production mode, one process for its one core, prepared statements, one
// statement a request.
import express from 'express';
import pg from 'pg';

// Ids and counts are 64 bits in the database, which pg gives as text unless told otherwise.
pg.types.setTypeParser(pg.types.builtins.INT8, Number);

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 20 });
const app = express();
app.disable('x-powered-by');

const ONE = 'SELECT id, name, email FROM users WHERE id = $1';
// One row is kept where the page is empty, for the count.
const PAGE = `SELECT u.id, u.name, u.email, t.total FROM (SELECT count(*) AS total FROM users) t
  LEFT JOIN (SELECT id, name, email FROM users ORDER BY id LIMIT $1 OFFSET $2) u ON true ORDER BY u.id`;

/** A whole number within bounds; `otherwise` where there is none, `undefined` where it is something else. */
function whole(text, otherwise, most) {
  if (text === undefined) return otherwise;
  const number = Number(text);
  return Number.isSafeInteger(number) && number >= 1 && number <= most ? number : undefined;
}

app.get('/users/:id', async (request, response) => {
  const id = whole(request.params.id, undefined, Number.MAX_SAFE_INTEGER);
  const { rows } = id ? await pool.query({ name: 'one', text: ONE, values: [id] }) : { rows: [] };
  if (rows.length === 0) return response.status(404).json({ title: 'Not Found', status: 404 });
  response.json(rows[0]);
});

app.get('/users', async (request, response) => {
  const page = whole(request.query.page, 1, 2 ** 31);
  const limit = whole(request.query.limit, 10, 100);
  if (!page || !limit) return response.status(422).json({ title: 'Unprocessable Content', status: 422 });
  const { rows } = await pool.query({ name: 'page', text: PAGE, values: [limit, (page - 1) * limit] });
  const users = rows.filter((row) => row.id !== null).map(({ id, name, email }) => ({ id, name, email }));
  response.json({ users, page, limit, total: rows[0].total });
});

const server = app.listen(Number(process.env.PORT), '127.0.0.1', (error) => {
  if (error) throw error;
});
// As long as the others keep connections of which nothing comes.
server.keepAliveTimeout = 75_000;
process.on('SIGTERM', () => process.exit(0));
