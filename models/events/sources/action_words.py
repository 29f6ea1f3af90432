"""Words for what visitors do, without case and punctuation, in the languages and tools that were met."""

import re
from typing import Final

_ACTION_WORDS: Final = {
    "item_view": (
        *(
            "浏览",
            "查看",
            "閲覧",
            "просмотр",
            "조회",
            "görüntüleme",
            "عرض",
            "visualizar",
            "visualização",
            "visualizzazione",
            "wyświetlenie",
        ),
        *(
            "view",
            "views",
            "viewed",
            "pv",
            "itemview",
            "viewitem",
            "productview",
            "productviewed",
            "viewproduct",
            "viewedproduct",
        ),
        *(
            "detailpageview",
            "productdetail",
            "productdetailview",
            "viewcontent",
            "browse",
            "browsed",
            "click",
            "clicks",
            "clicked",
        ),
        *(
            "viewdetail",
            "seen",
            "watch",
            "watched",
            "read",
            "open",
            "opened",
            "pdpview",
            "productpageview",
            "ansicht",
            "angesehen",
        ),
        *(
            "ansehen",
            "produktansicht",
            "produktangesehen",
            "artikelangesehen",
            "vue",
            "visto",
            "vista",
            "impressiondetail",
            "detail",
            "itemviewed",
            "vieweditem",
            "look",
        ),
        *("product", "productpage", "pdp", "itempage", "produktseite", "produktdetailseite"),
        *("viewedproductpage", "clkitem", "viewitemdetails", "pageviewproduct", "bekeken", "visita"),
    ),
    "item_engagement": (
        *("itemclick", "productclick", "productclicked", "selectitem", "zoom", "imageview", "clickitem", "productimageclick"),
        *("listclick", "recclick", "itemengagement", "share", "shared", "video"),
    ),
    "detail_view": ("detailview", "moredetails", "showdetails", "expanddetails", "viewspecs"),
    "review_read": ("reviewread", "readreview", "readreviews", "viewreviews", "reviewsviewed", "viewreview"),
    "spec_compare": ("compare", "compared", "addtocompare", "speccompare", "productcompare", "comparison"),
    "category_browse": (
        *("categoryview", "viewcategory", "categorybrowse", "listview", "viewlist", "viewitemlist", "productlistviewed"),
        *("categorypageview", "viewlisting", "listing", "plpview", "categorypage", "productlistview", "collectionview"),
        *("department", "category", "kategorie", "collection", "productlist", "plp"),
    ),
    "search": (
        *("搜索", "検索", "поиск", "검색", "arama"),
        *(
            "search",
            "searched",
            "sitesearch",
            "productsearch",
            "productssearched",
            "searchproduct",
            "viewsearchresults",
            "suche",
        ),
        *("searchquery", "searching", "recherche", "busqueda", "searchresult", "searchresults", "searchview"),
    ),
    "search_refine": ("searchrefine", "filter", "filtered", "filterapplied", "sort", "sorted", "productlistfiltered", "facet"),
    "content_view": (
        *(
            "contentview",
            "pageview",
            "page",
            "pagevisit",
            "pageviewed",
            "screenview",
            "screen",
            "home",
            "homepageview",
            "homepage",
        ),
        *("visitpage", "viewpage", "articleview", "blogview", "promotionview", "viewpromotion", "viewedpage", "seitenaufruf"),
    ),
    "wishlist_add": (
        *("收藏", "お気に入り", "избранное"),
        *(
            "fav",
            "favorite",
            "favourite",
            "favorites",
            "wishlist",
            "wishlistadd",
            "addtowishlist",
            "addtolist",
            "like",
            "liked",
        ),
        *("follow", "save", "saved", "bookmark", "addtofavorites", "addtofavourites", "addfavorite", "collect", "merkzettel"),
        *("wunschliste", "addwishlist", "productaddedtowishlist", "tofavorites", "heart"),
    ),
    "add_to_cart": (
        *("加购", "加入购物车", "カート追加", "вкорзину", "добавлениевкорзину", "장바구니", "sepeteekle", "dodajdokoszyka"),
        *("addtocart", "cart", "carts", "addcart", "cartadd", "addtobasket", "basket", "basketadd", "addbasket", "addtobag"),
        *("productadded", "addedtocart", "addedtobasket", "atc", "add", "addproduct", "warenkorb", "inwarenkorb", "panier"),
        *(
            "ajoutpanier",
            "carrito",
            "addtocarts",
            "itemaddedtocart",
            "addtotrolley",
            "tocart",
            "cartadded",
            "additem",
            "indenkorb",
        ),
        *("indenwarenkorb", "addedproduct", "winkelwagen", "agregarcarrito"),
    ),
    "remove_from_cart": (
        *(
            "removefromcart",
            "cartremove",
            "removecart",
            "removefrombasket",
            "productremoved",
            "removedfromcart",
            "basketremove",
        ),
        *("deletefromcart", "remove", "removeitem", "ausdemwarenkorb", "removefrombag", "entfernt", "removedproduct"),
    ),
    "cart_view": (
        "cartview",
        "viewcart",
        "cartviewed",
        "basketview",
        "viewbasket",
        "shoppingcartpageview",
        "viewbag",
        "viewedcart",
    ),
    "checkout_view": (
        *("checkout", "begincheckout", "checkoutstarted", "initiatecheckout", "startcheckout", "checkoutstart", "checkoutview"),
        *(
            "checkoutstep",
            "addpaymentinfo",
            "addshippinginfo",
            "kasse",
            "checkoutstepviewed",
            "checkoutstepcompleted",
            "startedcheckout",
        ),
    ),
    "purchase": (
        *("购买", "下单", "支付", "購入", "注文", "покупка", "заказ", "구매", "주문", "satınalma", "شراء", "zakup"),
        *("purchase", "purchased", "purchases", "buy", "buys", "bought", "order", "orders", "ordered", "transaction", "sale"),
        *(
            "transactions",
            "ordercompleted",
            "orderplaced",
            "placedorder",
            "placeorder",
            "checkoutcompleted",
            "purchasecomplete",
        ),
        *(
            "conversion",
            "ecommerceorder",
            "kauf",
            "gekauft",
            "bestellung",
            "bestellt",
            "achat",
            "compra",
            "comprado",
            "pay",
            "paid",
        ),
        *(
            "ordercomplete",
            "completeorder",
            "ecommercepurchase",
            "orderedproduct",
            "checkoutcomplete",
            "inapppurchase",
            "kaufen",
        ),
        *("checkoutsuccess", "payment", "aankoop", "deal"),
    ),
}
ACTIONS: Final = {word: ours for ours, words in _ACTION_WORDS.items() for word in words}
# Columns in which actions are numbers, and what those mean there (Tianchi's mobile data; the second also writes 1 as view).
CODES: Final = {
    "behaviortype": {"1": "item_view", "2": "wishlist_add", "3": "add_to_cart", "4": "purchase"},
    "actiontype": {"0": "item_view", "1": "add_to_cart", "2": "purchase", "3": "wishlist_add"},
}


def word(name: str) -> str:
    """A name without case and punctuation.

    Examples
    --------
    >>> word("Add-to-Cart"), word("In den Warenkorb")
    ('addtocart', 'indenwarenkorb')
    """
    return re.sub(r"[\W_]+", "", name.casefold())


_STEMS: Final = {
    "wishlist_add": ("wish", "favo", "merkzettel", "wunsch"),
    "remove_from_cart": ("remov", "delet", "entfern", "lösch", "supprim", "eliminar", "verwijder", "frombag"),
    "checkout_view": ("checkout", "kasse", "payment"),
    "add_to_cart": (
        "cart",
        "basket",
        "warenkorb",
        "panier",
        "carrito",
        "carrinho",
        "winkelwagen",
        "trolley",
        "tobag",
        "shoppingbag",
    ),
    "purchase": ("purchas", "order", "bought", "kauf", "bestell", "achat", "commande", "compra", "pedido", "transaction"),
    "search": ("search", "suche", "recherche", "busqueda", "búsqueda"),
    "item_view": (
        "view",
        "ansicht",
        "angesehen",
        "aufruf",
        "anzeige",
        "visit",
        "besuch",
        "consult",
        "bekek",
        "visto",
        "visualiz",
    ),
}


def by_stem(name: str) -> str | None:
    """Our type for an action in whose name one stem of a known word stands, and no stem of another kind.

    Examples
    --------
    >>> by_stem("Artikelansicht"), by_stem("ProductAddedToBasketV2"), by_stem("order viewed"), by_stem("login")
    ('item_view', 'add_to_cart', None, None)
    """
    plain = word(name)
    found = [ours for ours, stems in _STEMS.items() if any(stem in plain for stem in stems)]
    taken_out = found == ["remove_from_cart", "add_to_cart"]
    return "remove_from_cart" if taken_out else found[0] if len(found) == 1 and found != ["remove_from_cart"] else None
