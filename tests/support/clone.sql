SET sql_mode = '';
CREATE DATABASE peculiar CHARACTER SET latin1;
CREATE TABLE peculiar.values_of_all_kinds (
    id INT UNSIGNED NOT NULL PRIMARY KEY, fl FLOAT, fd FLOAT(7,3), db DOUBLE, dd DOUBLE(12,2), zf INT(6) ZEROFILL,
    bt BIT(13), b1 BIT(1), bl BIT(64), yr YEAR, da DATE, tm TIME(6), dt DATETIME(6), ts TIMESTAMP(2) NULL,
    ch CHAR(10), cu CHAR(10) CHARACTER SET utf8mb4, vb VARBINARY(9), bn BINARY(5), lt LONGTEXT CHARACTER SET utf16,
    sj VARCHAR(20) CHARACTER SET ucs2, en ENUM('a', 'b', 'c'), se SET('p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'z'),
    js JSON, ge GEOMETRY, pt POINT SRID 4326, ve VECTOR(4), hidden INT INVISIBLE DEFAULT 7,
    virtual_sum DOUBLE AS (fl + 1) VIRTUAL, stored_sum BIGINT AS (id * 2) STORED, KEY ((id + 1))
);
INSERT INTO peculiar.values_of_all_kinds (id, fl, fd, db, dd, zf, bt, b1, bl, yr, da, tm, dt, ts, ch, cu, vb, bn, lt, sj, en, se, js, ge, pt, ve) VALUES
    (1, 0.1, 1234.567, 0.1, 1.005, 42, b'1010101010101', 1, 0xFFFFFFFFFFFFFFFF, 2026, '2026-11-21', '-00:00:00.500', '2026-11-21 01:02:03.000001',
     '2026-11-21 01:02:03.45', 'abc', 'é', 'x\0\0', 'ab\0c\0', 'long é', 'ab', 'b', 'p,r,z',
     '{"a": [1, -1, 3000000000, 18446744073709551615, 1.5, "x\\"\\n", null, true, {"k": "v"}], "dec": 1}',
     ST_GeomFromText('LINESTRING(0 0,1 1)'), ST_SRID(POINT(1, 2), 4326), TO_VECTOR('[1,2.5,-3,4e10]')),
    (2, 16777217, -9999.999, 1.7976931348623157e308, -0.01, 0, 0, 0, 0, 0, '0000-00-00', '838:59:59', '0000-00-00 00:00:00', '0000-00-00 00:00:00',
     '', '', '', '', '', '', 'not a member', '', '[]', NULL, NULL, NULL),
    (3, 3.4028234e38, 0, 5e-324, 0, 999999, NULL, NULL, 1, 1901, '9999-12-31', '-838:59:59', '9999-12-31 23:59:59.999999', '1970-01-01 00:00:01.00',
     '  a  ', 'ü ', '\0', '\0\0\0\0\0', REPEAT('x', 70000), '表', 'c', 'z', 'null', NULL, NULL, NULL);
INSERT INTO peculiar.values_of_all_kinds (id) VALUES (4);
UPDATE peculiar.values_of_all_kinds SET js = JSON_OBJECT('dec', CAST(1.250 AS DECIMAL(6,3)), 'big', CAST('-123456789012345678901234567890.5' AS DECIMAL(40,5)),
    'dt', CAST('2026-11-21 01:02:03.5' AS DATETIME(6)), 't', CAST('-01:02:03' AS TIME), 'd', CAST('2026-11-21' AS DATE), 'bin', CAST('xx' AS BINARY),
    'dbl', 1e20, 'small', 1e-7, 'zero', -0.0, 'ctl', CHAR(1)) WHERE id = 4;
CREATE TABLE peculiar.by_binary (k BINARY(4) NOT NULL PRIMARY KEY, v INT);
INSERT INTO peculiar.by_binary VALUES ('a', 1), ('ab', 2), ('a\0b', 3), ('', 4), ('\0\0\0b', 5);
CREATE TABLE peculiar.by_char (k CHAR(8) CHARACTER SET utf8mb4 NOT NULL, d DATE NOT NULL, v INT, PRIMARY KEY (k, d));
INSERT INTO peculiar.by_char VALUES ('a', '2026-01-01', 1), ('A ', '2026-01-02', 2), ('é', '0000-00-00', 3), ('', '2026-01-01', 4);
CREATE TABLE peculiar.by_number (a SMALLINT NOT NULL, b DECIMAL(9,3) NOT NULL, c TIME(3) NOT NULL, v INT, PRIMARY KEY (a DESC, b, c DESC));
INSERT INTO peculiar.by_number SELECT n.n - 60, (n.n * 7919 MOD 1000) / 100 - 5, SEC_TO_TIME(n.n * 37 - 500), n.n
    FROM (WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 120) SELECT n FROM n) n;
CREATE TABLE peculiar.by_prefix (k VARCHAR(200) NOT NULL, b BLOB NOT NULL, v INT, PRIMARY KEY (k(5), b(3)));
INSERT INTO peculiar.by_prefix VALUES ('short', 'abcdef', 1), ('longer than five', 'abcdef', 2), ('longer', 'xyz', 3);
CREATE TABLE peculiar.by_unique (a INT, k BIT(9) NOT NULL, e ENUM('x', 'y') NOT NULL, UNIQUE KEY u (k, e));
INSERT INTO peculiar.by_unique VALUES (NULL, b'100000001', 'y'), (2, b'1', 'x'), (3, b'1', 'y');
SET SESSION sql_generate_invisible_primary_key = ON;
CREATE TABLE peculiar.generated_key (v VARCHAR(30));
INSERT INTO peculiar.generated_key VALUES ('one'), ('two'), (NULL);
SET SESSION sql_generate_invisible_primary_key = OFF;
CREATE TABLE peculiar.partitioned (`sel``ect` INT NOT NULL PRIMARY KEY, `ä` INT) PARTITION BY HASH (`sel``ect`) PARTITIONS 4;
INSERT INTO peculiar.partitioned VALUES (1, 1), (2, NULL), (-3, 3);
CREATE TABLE peculiar.empty_one (id INT PRIMARY KEY);
CREATE VIEW peculiar.seen AS SELECT id FROM peculiar.values_of_all_kinds;
