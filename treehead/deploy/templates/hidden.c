/* The hidden numbers as the upper layer reads them. */
static void hide(${name}_work *work)
{
    int32_t i, number;

    dense(lower_weight, HIDDEN, COLUMNS, work->x, work->sum);
    for (i = 0; i < HIDDEN; i++) {
        number = scaled(work->sum[i], lower_multiplier[i]) + lower_bias[i];
        if (HIDDEN_RELU && number < 0)
            number = 0;
        work->hidden[i] = narrowed(number, HIDDEN_SHIFT, HIDDEN_LIMIT, &work->saturated);
    }
    for (; i < HIDDEN_COLUMNS; i++)
        work->hidden[i] = 0;
}
