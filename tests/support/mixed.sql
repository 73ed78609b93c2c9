CREATE DATABASE shop CHARACTER SET utf8mb4;

-- Every ordinary column type; a key of one number.
CREATE TABLE shop.types (
    id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
    ti TINYINT, tu TINYINT UNSIGNED, si SMALLINT, su SMALLINT UNSIGNED, mi MEDIUMINT, mu MEDIUMINT UNSIGNED,
    i INT, iu INT UNSIGNED, bi BIGINT, bu BIGINT UNSIGNED,
    fl FLOAT, db DOUBLE, de DECIMAL(20, 6), dw DECIMAL(65, 30), bt BIT(13), yr YEAR,
    da DATE, tm TIME, tf TIME(3), dt DATETIME, df DATETIME(6), ts TIMESTAMP NULL, tz TIMESTAMP(2) NULL,
    ch CHAR(10), vc VARCHAR(200), vl VARCHAR(300) CHARACTER SET latin1, bn BINARY(5), vb VARBINARY(40),
    tt TINYTEXT, tx TEXT, mt MEDIUMTEXT, lt LONGTEXT, tb TINYBLOB, bl BLOB, mb MEDIUMBLOB, lb LONGBLOB,
    en ENUM('red', 'green', 'blue'), se SET('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i'), js JSON
);
-- A key of two numbers.
CREATE TABLE shop.orders (
    customer INT NOT NULL, number INT UNSIGNED NOT NULL, placed TIMESTAMP(3) NULL,
    total DECIMAL(12, 2) NOT NULL, note VARCHAR(120), PRIMARY KEY (customer, number)
);
-- A key of text in the default collation, where case and accents do not count.
CREATE TABLE shop.names (
    name VARCHAR(64) NOT NULL PRIMARY KEY, hits INT UNSIGNED NOT NULL DEFAULT 1, seen DATETIME(6)
);
-- A key of text, date and number.
CREATE TABLE shop.places (
    region VARCHAR(12) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, day DATE NOT NULL,
    seq MEDIUMINT UNSIGNED NOT NULL, kind ENUM('shop', 'depot', 'desk') NOT NULL, area DOUBLE,
    PRIMARY KEY (region, day, seq)
);
CREATE TABLE shop.draft (id INT NOT NULL PRIMARY KEY, word VARCHAR(40));
INSERT INTO shop.draft VALUES (2, 'two'), (-1, 'minus one'), (1, NULL);
CREATE TABLE shop.emptied LIKE shop.draft;
INSERT INTO shop.emptied VALUES (1, 'before the TRUNCATE');

DELIMITER //
-- As many transactions as asked for; keys from `base` on are this call's own. What is written depends
-- on the number alone: four inserts into `types` of ten transactions, the rest as the cases say.
CREATE PROCEDURE shop.mixed(base BIGINT, transactions INT)
BEGIN
    DECLARE i INT DEFAULT 0;
    DECLARE n, h BIGINT;
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    WHILE i < transactions DO
        SET n = base + i, h = CRC32(n);
        CASE n MOD 10
        WHEN 4 THEN
            START TRANSACTION;
            INSERT INTO shop.orders (customer, number, placed, total, note)
                VALUES (n DIV 1000, n MOD 1000, FROM_UNIXTIME(1700000000 + n / 1000), h / 100, CONCAT('order ', n));
            INSERT INTO shop.places VALUES (CONCAT(ELT(1 + h MOD 3, 'north', 'South', 'a'), n DIV 10000000),
                DATE '2026-01-01' + INTERVAL h MOD 900 DAY, n MOD 10000000, 1 + h MOD 3, h / 7e3);
            UPDATE shop.types SET tu = 200, tx = 'changed in a transaction of three' WHERE id = n - 4;
            COMMIT;
        WHEN 5 THEN
            UPDATE shop.types SET mi = -mi, fl = fl / 3, js = JSON_SET(js, '$.changed', n),
                vc = NULL WHERE id BETWEEN n - 5 AND n - 3;
        WHEN 6 THEN
            INSERT INTO shop.names (name, seen) VALUES
                (CONCAT(ELT(1 + h MOD 8, 'Ana', 'ANA', 'bert', 'Çelik', 'celik', 'Ünal', 'zoë', 'ørsted'), ' ',
                    h MOD 499, ' ', base DIV 10000000), TIMESTAMP '2026-01-01 00:00:00' + INTERVAL h MICROSECOND)
                ON DUPLICATE KEY UPDATE hits = hits + 1, seen = TIMESTAMP '2026-02-01 00:00:00' + INTERVAL h MICROSECOND;
        WHEN 7 THEN
            DELETE FROM shop.types WHERE id = n - 37;
        WHEN 8 THEN
            UPDATE shop.orders SET number = number + 1000, total = -total
                WHERE customer = (n - 4) DIV 1000 AND number = (n - 4) MOD 1000;
        WHEN 9 THEN
            INSERT INTO shop.orders (customer, number, placed, total, note) VALUES
                (-(n DIV 1000), n MOD 1000, NULL, 0, NULL),
                (-(n DIV 1000), n MOD 1000 + 1000, '2026-02-03 04:05:06.789', 1.5, ''),
                (-(n DIV 1000), n MOD 1000 + 2000, NULL, -0.01, 'tab\tline\nback\\slash');
        ELSE
            INSERT INTO shop.types VALUES (n,
                h MOD 256 - 128, h MOD 256, h MOD 65536 - 32768, h MOD 65536,
                h MOD 16777216 - 8388608, h MOD 16777216, h - 2147483648, h,
                CAST(h AS SIGNED) * -2147483648, CAST(h AS UNSIGNED) * 4294967297,
                h / 7, h / 3e15, (h - 2147483648) / 1000, h / 1e9 - 1234567890123456789, h MOD 8192, 1901 + h MOD 255,
                DATE '1000-01-01' + INTERVAL h MOD 3000000 DAY, SEC_TO_TIME(h MOD 6000000 - 3000000),
                SEC_TO_TIME((h MOD 600000000 - 300000000) / 1000),
                TIMESTAMP '2000-01-01 00:00:00' + INTERVAL h SECOND, TIMESTAMP '2000-01-01 00:00:00' + INTERVAL h * 1001 MICROSECOND,
                FROM_UNIXTIME(1 + h MOD 2147483646), FROM_UNIXTIME(1 + (h MOD 2147483646) / 100),
                IF(h MOD 3 = 0, NULL, SUBSTR(HEX(h), 1, h MOD 9)), CONCAT('naïve — ', n), CONCAT('é', h MOD 1000),
                UNHEX(SUBSTR(HEX(h + 4294967296), 2, 6)), UNHEX(SHA2(n, 224)),
                'tiny', IF(h MOD 7 = 0, NULL, REPEAT('text ', h MOD 12)), REPEAT('m', h MOD 50), 'long\0\t\n\\text',
                UNHEX(HEX(h)), UNHEX(SHA2(n, 256)), REPEAT('b', h MOD 60), IF(h MOD 2, NULL, ''),
                IF(h MOD 11 = 0, NULL, 1 + h MOD 3), h MOD 512,
                JSON_OBJECT('n', n, 'list', JSON_ARRAY(h, -h, h / 7, h / 3e5, NULL, TRUE, 'é"\\'), 'pad', REPEAT('x', h MOD 40)));
        END CASE;
        SET i = i + 1;
    END WHILE;
END//
DELIMITER ;
