"""Names that others give to what visitors do, as ours: GA4, Segment, Google Retail, PostHog, Snowplow, Matomo.

Sources: Google Analytics 4 recommended events; Segment's "V2 Ecommerce Events"; Google Cloud Retail's ``UserEvent.event_type``;
Snowplow's e-commerce schemas; Matomo's ``Live.getLastVisitsDetails``.
"""

from collections.abc import Mapping
from typing import Final

from models.schema import EVENT_TYPES

GA4: Final = {
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
    "purchase": "purchase",
}
SEGMENT: Final = {
    "Products Searched": "search",
    "Product List Viewed": "category_browse",
    "Product List Filtered": "search_refine",
    "Promotion Viewed": "content_view",
    "Promotion Clicked": "content_view",
    "Product Clicked": "item_engagement",
    "Product Viewed": "item_view",
    "Product Added": "add_to_cart",
    "Product Removed": "remove_from_cart",
    "Cart Viewed": "cart_view",
    "Checkout Started": "checkout_view",
    "Checkout Step Viewed": "checkout_view",
    "Checkout Step Completed": "checkout_view",
    "Payment Info Entered": "checkout_view",
    "Order Completed": "purchase",
    "Product Added to Wishlist": "wishlist_add",
    "Wishlist Product Added to Cart": "add_to_cart",
}
RETAIL: Final = {
    "home-page-view": "content_view",
    "category-page-view": "category_browse",
    "search": "search",
    "detail-page-view": "item_view",
    "add-to-list": "wishlist_add",
    "add-to-cart": "add_to_cart",
    "remove-from-cart": "remove_from_cart",
    "shopping-cart-page-view": "cart_view",
    "checkout-start": "checkout_view",
    "purchase-complete": "purchase",
}
POSTHOG: Final = {"$pageview": "content_view", "$screen": "content_view"}  # its shops send Segment's names
# Actions of Snowplow's e-commerce schema, and the kinds of event; both become names that the vocabularies above know.
SNOWPLOW: Final = {
    "product_view": "item_view",
    "list_view": "category_browse",
    "list_click": "item_engagement",
    "add_to_cart": "add_to_cart",
    "remove_from_cart": "remove_from_cart",
    "checkout_step": "checkout_view",
    "transaction": "purchase",
    "transaction_item": "purchase",
    "promotion_view": "content_view",
    "promotion_click": "content_view",
    "page_view": "content_view",
    "screen_view": "content_view",
    "site_search": "search",
    "add-to-basket": "add_to_cart",
    "remove-from-basket": "remove_from_cart",
}
MATOMO: Final = {
    "action": "content_view",
    "search": "search",
    "ecommerceAbandonedCart": "add_to_cart",
    "ecommerceOrder": "purchase",
}
# Universal Analytics' codes of a hit's e-commerce action, and the type of a hit without one.
UNIVERSAL: Final = {
    "1": "item_engagement",
    "2": "item_view",
    "3": "add_to_cart",
    "4": "remove_from_cart",
    "5": "checkout_view",
    "6": "purchase",
    "PAGE": "content_view",
    "APPVIEW": "content_view",
}
# Adobe Analytics' codes of standard events.
ADOBE: Final = {
    "1": "purchase",
    "2": "item_view",
    "11": "checkout_view",
    "12": "add_to_cart",
    "13": "remove_from_cart",
    "14": "cart_view",
}
NAMES: Final[Mapping[str, str]] = {**{name: name for name in EVENT_TYPES}, **GA4, **SEGMENT, **RETAIL, **POSTHOG}
