CREATE DATABASE small;
CREATE TABLE small.a (id BIGINT NOT NULL PRIMARY KEY, v INT NOT NULL, s VARCHAR(40) NOT NULL);
CREATE TABLE small.b (id BIGINT NOT NULL PRIMARY KEY, v INT NOT NULL, s VARCHAR(40) NOT NULL);

DELIMITER //
CREATE PROCEDURE small.small(base BIGINT, transactions INT)
BEGIN
    DECLARE i INT DEFAULT 0;
    WHILE i < transactions DO
        START TRANSACTION;
        INSERT INTO small.a VALUES (base + i, i, 'a row of a small transaction');
        INSERT INTO small.b VALUES (base + i, i, 'another one');
        UPDATE small.a SET v = v + 1 WHERE id = base + i DIV 2;
        COMMIT;
        SET i = i + 1;
    END WHILE;
END//
DELIMITER ;
