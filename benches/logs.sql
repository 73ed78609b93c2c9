-- What the logs of the benches are made with. Every value follows from the number of its row. Texts are digests
-- in base64, which hardly compress: compressed.binlog expands to 1.8 times its size.
CREATE DATABASE shop CHARACTER SET utf8mb4;

CREATE TABLE shop.orders (
    id BIGINT NOT NULL PRIMARY KEY, customer INT UNSIGNED NOT NULL, state TINYINT NOT NULL,
    total DECIMAL(12, 2) NOT NULL, placed DATETIME(6) NOT NULL, changed TIMESTAMP NULL,
    reference VARCHAR(90) NOT NULL, note VARCHAR(255), weight DOUBLE, channel ENUM('shop', 'web', 'phone')
);
CREATE TABLE shop.items (
    id BIGINT NOT NULL PRIMARY KEY, orders BIGINT NOT NULL, product INT NOT NULL, amount SMALLINT UNSIGNED NOT NULL,
    price DECIMAL(10, 2) NOT NULL, tax FLOAT, added TIMESTAMP(3) NULL, due DATE,
    label VARCHAR(130) NOT NULL, remark VARCHAR(200)
);
CREATE TABLE shop.wide (
    id BIGINT UNSIGNED NOT NULL PRIMARY KEY, tiny TINYINT, small SMALLINT, medium MEDIUMINT, number INT, big BIGINT,
    fl FLOAT, db DOUBLE, price DECIMAL(30, 10), day DATE, clock TIME(3), dt DATETIME(6), ts TIMESTAMP(6) NULL, yr YEAR,
    name VARCHAR(300), fixed CHAR(20), bin BINARY(16), text TEXT, data BLOB, bits BIT(17),
    color ENUM('red', 'green', 'blue'), traits SET('a', 'b', 'c', 'd', 'e'), doc JSON, place POINT
);

DELIMITER //
CREATE FUNCTION shop.digest(n BIGINT, bits INT) RETURNS VARCHAR(100) DETERMINISTIC NO SQL
    RETURN REPLACE(TO_BASE64(UNHEX(SHA2(n, bits))), '\n', '')//

-- Transactions of an insert, an update of a row that another one inserted, and another insert.
CREATE PROCEDURE shop.small(base BIGINT, transactions INT)
BEGIN
    DECLARE i INT DEFAULT 0;
    DECLARE n, h BIGINT;
    WHILE i < transactions DO
        SET n = base + i, h = CRC32(n);
        START TRANSACTION;
        INSERT INTO orders VALUES (n, h MOD 100000, h MOD 5, h / 100, NOW(6), NOW(), CONCAT(digest(n, 256), digest(-n, 256)),
            IF(h MOD 4, LEFT(digest(h, 512), 40 + h MOD 49), NULL), h / 7, 1 + h MOD 3);
        UPDATE orders SET state = state + 1, changed = FROM_UNIXTIME(1700000000 + i), note = digest(n, 512)
            WHERE id = base + i DIV 2;
        INSERT INTO items VALUES (n, n, h MOD 5000, h MOD 100, h / 1000, h / 1e9, FROM_UNIXTIME(1700000000 + i / 1000),
            '2026-01-01' + INTERVAL h MOD 300 DAY, CONCAT(digest(h, 384), digest(-h, 384)),
            IF(h MOD 5, LEFT(CONCAT(digest(h + 1, 512), digest(h + 2, 256)), 60 + h MOD 73), NULL));
        COMMIT;
        SET i = i + 1;
    END WHILE;
END//

-- Transactions of 100 rows, written by one statement each.
CREATE PROCEDURE shop.wide(base BIGINT, transactions INT)
BEGIN
    DECLARE i INT DEFAULT 0;
    WHILE i < transactions DO
        INSERT INTO wide
            WITH RECURSIVE rows_of (n) AS (SELECT base + i * 100 UNION ALL SELECT n + 1 FROM rows_of WHERE n < base + i * 100 + 99)
            SELECT n, n MOD 128, n MOD 32768, n MOD 8388608, CRC32(n) MOD 2147483648, CRC32(n) * 7919,
                n / 3, n / 7, n * 12345.6789, '2026-01-01' + INTERVAL n MOD 9000 DAY, SEC_TO_TIME(n MOD 80000),
                '2026-01-01' + INTERVAL n * 1001 MICROSECOND, FROM_UNIXTIME(1700000000 + n / 1e6), 1970 + n MOD 80,
                CONCAT(digest(n, 512), digest(n, 256)), LEFT(digest(-n, 224), 20), UNHEX(LEFT(SHA2(n, 256), 32)),
                CONCAT(digest(n + 1, 512), digest(n + 2, 512), digest(n + 3, 512), digest(n + 4, 384)),
                UNHEX(CONCAT(SHA2(n + 3, 512), SHA2(n + 4, 512), SHA2(n + 5, 512), SHA2(n + 6, 384))),
                n MOD 131072, 1 + n MOD 3, n MOD 32,
                JSON_OBJECT('n', n, 'text', digest(n + 6, 512), 'list', JSON_ARRAY(n, n / 7, NULL, TRUE, digest(n, 384)),
                    'more', JSON_OBJECT('a', CONCAT(digest(n + 7, 512), digest(n, 256)), 'b', CRC32(n))),
                IF(n MOD 5, POINT(n MOD 180, n / 1e6), NULL)
            FROM rows_of;
        SET i = i + 1;
    END WHILE;
END//

-- One log each, of more than 100 MB.
CREATE PROCEDURE shop.oltp() CALL small(0, 72000)//
CREATE PROCEDURE shop.bulk() CALL wide(0, 850)//
CREATE PROCEDURE shop.compressed()
BEGIN
    DECLARE i INT DEFAULT 0;
    WHILE i < 800 DO
        CALL small(1000000 + i * 88, 88);
        CALL wide(1000000 + i * 100, 1);
        SET i = i + 1;
    END WHILE;
END//
DELIMITER ;
