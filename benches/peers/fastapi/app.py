"""The reads of the users API with FastAPI and SQLAlchemy, at their best for them.

Run by uvicorn with uvloop and httptools in one process for its one core. Statements are of SQLAlchemy's Core, compiled once and prepared by asyncpg;
each is a transaction of its own, so that no BEGIN and ROLLBACK stand around it; one statement a request.
"""

import os
from typing import Annotated

from fastapi import FastAPI, HTTPException, Path, Query
from pydantic import BaseModel
from sqlalchemy import BigInteger, Column, MetaData, Table, Text, bindparam, func, select, true
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

engine = create_async_engine(
    make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+asyncpg"),
    pool_size=20,
    max_overflow=0,
    pool_reset_on_return=None,
    isolation_level="AUTOCOMMIT",
)
users = Table(
    "users",
    MetaData(),
    Column("id", BigInteger, primary_key=True),
    Column("name", Text),
    Column("email", Text),
)

ONE = select(users.c.id, users.c.name, users.c.email).where(users.c.id == bindparam("id"))
_total = select(func.count().label("total")).select_from(users).subquery()
_page = (
    select(users.c.id, users.c.name, users.c.email)
    .order_by(users.c.id)
    .limit(bindparam("limit", type_=BigInteger))
    .offset(bindparam("offset", type_=BigInteger))
    .subquery()
)
# One row is kept where the page is empty, for the count.
PAGE = (
    select(_page.c.id, _page.c.name, _page.c.email, _total.c.total)
    .select_from(_total.outerjoin(_page, true()))
    .order_by(_page.c.id)
)


class User(BaseModel):
    id: int
    name: str
    email: str


class Page(BaseModel):
    users: list[User]
    page: int
    limit: int
    total: int


app = FastAPI()


@app.get("/users/{user_id}")
async def user(user_id: Annotated[int, Path(ge=1, lt=2**63)]) -> User:
    async with engine.connect() as connection:
        row = (await connection.execute(ONE, {"id": user_id})).first()
    if row is None:
        raise HTTPException(404)
    return User(id=row.id, name=row.name, email=row.email)


@app.get("/users")
async def page(
    page: Annotated[int, Query(ge=1, le=2**31)] = 1,
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
) -> Page:
    async with engine.connect() as connection:
        rows = (await connection.execute(PAGE, {"limit": limit, "offset": (page - 1) * limit})).all()
    found = [User(id=row.id, name=row.name, email=row.email) for row in rows if row.id is not None]
    return Page(users=found, page=page, limit=limit, total=rows[0].total)
