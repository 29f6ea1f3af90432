/** Names, written by `python -m services.beacon.vocabulary`. */
export const FIELDS = ["item_id", "order_id", "price", "revenue", "query_length", "scroll_depth", "zoom_level", "dwell_ms", "n_errors", "cursor_distance_px", "currency", "category", "quantity"];
/** @type {Record<string, string[]>} */
export const GA4 = {
  "item_view": [
    "view_item"
  ],
  "item_engagement": [
    "select_item"
  ],
  "category_browse": [
    "view_item_list"
  ],
  "search": [
    "search",
    "view_search_results"
  ],
  "content_view": [
    "page_view",
    "screen_view",
    "select_content",
    "view_promotion",
    "select_promotion"
  ],
  "wishlist_add": [
    "add_to_wishlist"
  ],
  "add_to_cart": [
    "add_to_cart"
  ],
  "remove_from_cart": [
    "remove_from_cart"
  ],
  "cart_view": [
    "view_cart"
  ],
  "checkout_view": [
    "begin_checkout",
    "add_shipping_info",
    "add_payment_info"
  ],
  "purchase": [
    "purchase"
  ]
};
