/** Names, written by `python -m services.beacon.vocabulary`. */
export const FIELDS = ["item_id", "category", "price", "dwell_ms", "scroll_depth", "zoom_level", "cursor_distance_px", "query_length", "quantity", "revenue", "order_id", "currency"];
/** @type {Record<string, string>} */
export const GA4 = {
  "view_item": "item_view",
  "select_item": "item_engagement",
  "view_item_list": "category_browse",
  "search": "search",
  "view_search_results": "search",
  "page_view": "content_view",
  "screen_view": "content_view",
  "select_content": "content_view",
  "view_promotion": "content_view",
  "select_promotion": "content_view",
  "add_to_wishlist": "wishlist_add",
  "add_to_cart": "add_to_cart",
  "remove_from_cart": "remove_from_cart",
  "view_cart": "cart_view",
  "begin_checkout": "checkout_view",
  "add_shipping_info": "checkout_view",
  "add_payment_info": "checkout_view",
  "purchase": "purchase"
};
