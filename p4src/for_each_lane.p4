// FOR_EACH_LANE(X) expands X(00) X(01) ... once per lane; LANES is given to the compiler: 0, 64 or 256.

#define LANES_OF_ROW(X, r) X(r##0) X(r##1) X(r##2) X(r##3) X(r##4) X(r##5) X(r##6) X(r##7) \
                           X(r##8) X(r##9) X(r##a) X(r##b) X(r##c) X(r##d) X(r##e) X(r##f)
#define LANES_0_63(X)      LANES_OF_ROW(X, 0) LANES_OF_ROW(X, 1) LANES_OF_ROW(X, 2) LANES_OF_ROW(X, 3)
#define LANES_64_127(X)    LANES_OF_ROW(X, 4) LANES_OF_ROW(X, 5) LANES_OF_ROW(X, 6) LANES_OF_ROW(X, 7)
#define LANES_128_191(X)   LANES_OF_ROW(X, 8) LANES_OF_ROW(X, 9) LANES_OF_ROW(X, a) LANES_OF_ROW(X, b)
#define LANES_192_255(X)   LANES_OF_ROW(X, c) LANES_OF_ROW(X, d) LANES_OF_ROW(X, e) LANES_OF_ROW(X, f)

#if LANES == 64
#define FOR_EACH_LANE(X) LANES_0_63(X)
#elif LANES == 256
#define FOR_EACH_LANE(X) LANES_0_63(X) LANES_64_127(X) LANES_128_191(X) LANES_192_255(X)
#elif LANES != 0
#error LANES must be 0, 64 or 256
#endif
